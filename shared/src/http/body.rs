//! Deserializes JSON bodies and query strings, and names the invalid field.
//!
//! Rules are part of the types (`text::Text`, enums, bounded numbers): deserialized values are valid. The first
//! violated rule is reported with the path to it. 400 is for text that is not JSON at all, 422 for JSON that violates a
//! rule.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::problem::Error;

/// The maximum length of a field's name and a rule, in characters, because they may quote the client's input.
const LONGEST_RULE: usize = 300;

/// Deserializes a JSON body.
///
/// # Errors
/// Fails with 415 unless the media type is `application/json` or `…+json` (or absent), with 400 for text that is not
/// JSON, and with 422 for a field that violates a rule, with its path.
pub fn json<T: DeserializeOwned>(content_type: Option<&str>, body: &[u8]) -> Result<T, Error> {
    let media_type = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or("application/json");
    let media_type = media_type.trim().to_ascii_lowercase();
    if media_type != "application/json" && !media_type.ends_with("+json") {
        return Err(Error::UnsupportedMediaType);
    }
    let text = std::str::from_utf8(body).map_err(|_| Error::Malformed("The body is not valid UTF-8.".to_owned()))?;
    if text.trim_ascii().is_empty() {
        return Err(Error::Malformed(
            "The body is empty; a JSON object is expected.".to_owned(),
        ));
    }
    // Checks the grammar first, because the reader below reports some values of another type as syntax errors.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
    // serde would deserialize a struct from an array too, by position.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Error::field("body", "must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let kinds = error.inner().is_syntax().then(|| serde_json::from_str::<Value>(text));
        match kinds {
            // Deserialized from the tree, a value of another type is reported as such.
            Some(Ok(tree)) => serde_path_to_error::deserialize::<_, T>(tree).map_or_else(rejected, |_| rejected(error)),
            // Valid JSON that `String` or `f64` cannot represent: a lone surrogate, an overflowing number.
            Some(Err(_)) | None => rejected(error),
        }
    })
}

/// Returns whether a Content-Encoding leaves the body as it is.
pub(super) fn is_identity(codings: &str) -> bool {
    let mut codings = codings.split(',').map(str::trim);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
}

/// A JSON object: the implementation that serde derives for a struct would also accept an array, by position.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Deserializes a query string into a struct whose fields are parsed from text.
///
/// # Errors
/// Fails with 422 and the parameter's name if it is unknown, given twice, or violates a rule; says how `+` is written if
/// the value has one, which means a space.
pub fn query<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    let mut parameters = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if parameters
            .insert(name.to_string(), Value::String(value.into_owned()))
            .is_some()
        {
            return Err(Error::field(name, "must be given once"));
        }
    }
    serde_path_to_error::deserialize(Value::Object(parameters)).map_err(|error| {
        let mut error = rejected(error);
        if let Error::Invalid(fields) = &mut error {
            for field in fields.iter_mut().filter(|field| has_plus(query, &field.field)) {
                field.rule.push_str("; in a query + is a space: write %2B");
            }
        }
        error
    })
}

/// Returns whether the query has a `+` in the value of this parameter.
fn has_plus(query: &str, name: &str) -> bool {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.any(|(given, value)| given == name && value.contains('+'))
}

fn rejected(error: serde_path_to_error::Error<serde_json::Error>) -> Error {
    let path = &*error.path().to_string();
    let message = error.inner().to_string();
    // serde_json appends the position to its messages; the path is more helpful.
    let rule = message.split(" at line ").next().unwrap_or(&message);
    // Missing and unknown fields are reported at their parent; the name is in the message.
    let named = rule
        .strip_prefix("missing field `")
        .or_else(|| rule.strip_prefix("unknown field `"))
        .or_else(|| rule.strip_prefix("duplicate field `"));
    let name = named.and_then(|rest| rest.split('`').next());
    let field = match name {
        Some(name) if path == "." => name.to_owned(),
        Some(name) if path.ends_with(name) => path.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None if path == "." => "body".to_owned(),
        None => path.to_owned(),
    };
    let rule = match named {
        Some(_) if rule.starts_with("missing") => "is required".to_owned(),
        Some(_) if rule.starts_with("duplicate") => "must be given once".to_owned(),
        Some(_) => rule.to_owned(),
        None => in_words_of_json(rule),
    };
    let cut = |text: &str| text.chars().take(LONGEST_RULE).collect::<String>();
    Error::field(cut(&field), cut(&rule))
}

/// Rewrites serde's message in terms of JSON instead of Rust, and without the value.
fn in_words_of_json(rule: &str) -> String {
    match rule {
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            return "must not contain half of a surrogate pair".to_owned();
        }
        "number out of range" => return "must be a number that a double can hold".to_owned(),
        "recursion limit exceeded" => return "must not be nested so deeply".to_owned(),
        _ => {}
    }
    // The client's value comes first and can contain anything; the expectation after it is this program's text.
    let Some((found, expected)) = rule.rsplit_once(", expected ") else {
        return rule.to_owned();
    };
    if found.starts_with("unknown variant ") {
        return format!("must be {expected}");
    }
    let Some(found) = found.strip_prefix("invalid type: ") else {
        return rule.to_owned();
    };
    let expected = match expected {
        "a string" => "text",
        "a sequence" => "an array",
        other => other,
    };
    let kinds = [
        ("null", "null"),
        ("boolean", "a boolean"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("number", "a number"),
        ("string", "text"),
        ("sequence", "an array"),
        ("map", "an object"),
    ];
    match kinds.iter().find(|(kind, _)| found.starts_with(kind)) {
        Some((_, found)) => format!("must be {expected}, not {found}"),
        None => format!("must be {expected}"),
    }
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::Malformed(format!(
        "The body is not valid JSON: line {}, column {}.",
        error.line(),
        error.column()
    ))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code)]
        title: String,
        #[expect(dead_code)]
        inner: Option<Inner>,
        #[expect(dead_code)]
        #[serde(default)]
        kind: Kind,
        #[expect(dead_code)]
        #[serde(default)]
        lines: Vec<String>,
    }

    #[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", remote = "Self")]
    enum Kind {
        #[default]
        One,
    }

    crate::names!(Kind);

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code)]
        count: u8,
    }

    fn field(body: &str) -> String {
        match json::<Body>(Some("application/json"), body.as_bytes()) {
            Err(Error::Invalid(errors)) => errors[0].field.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bad_field_is_named_at_any_depth() {
        assert_eq!(field("{}"), "title");
        assert_eq!(field(r#"{"title": 5}"#), "title");
        assert_eq!(field(r#"{"title": "a", "other": 1}"#), "other");
        assert_eq!(field(r#"{"title": "a", "inner": {"count": 300}}"#), "inner.count");
        assert_eq!(field(r#"{"title": "a", "inner": {"count": 1, "x": 1}}"#), "inner.x");
        assert_eq!(field(r#"{"title": "a", "inner": {}}"#), "inner.count");
        for body in ["[]", r#"["a", null]"#, "null", "7", "true", r#""a""#] {
            assert_eq!(field(body), "body", "{body}");
        }
    }

    #[test]
    fn wrong_type_is_no_syntax_error() {
        for other in ["null", "1", "true", "[]", "{}"] {
            assert_eq!(
                field(&format!(r#"{{"title": "a", "kind": {other}}}"#)),
                "kind",
                "{other}"
            );
        }
        // This is JSON by its grammar.
        assert_eq!(field(r#"{"title": "\ud800"}"#), "title");
        assert_eq!(field(r#"{"title": "a", "inner": {"count": 1e400}}"#), "inner.count");
    }

    #[test]
    fn wrong_type_is_named_as_in_json() {
        let rule = |body: &str| match json::<Body>(None, body.as_bytes()) {
            Err(Error::Invalid(errors)) => errors[0].rule.clone(),
            other => panic!("{other:?}"),
        };
        for (value, found) in [
            ("null", "null"),
            ("true", "a boolean"),
            ("-5", "a number"),
            ("1.5", "a number"),
            ("[1]", "an array"),
            (r#"{"a": 1}"#, "an object"),
        ] {
            let said = rule(&format!(r#"{{"title": {value}}}"#));
            assert_eq!(said, format!("must be text, not {found}"));
            let said = rule(&format!(r#"{{"title": "a", "kind": {value}}}"#));
            assert_eq!(said, format!("must be text, not {found}"));
        }
        for lines in [r#""a, expected a string""#, "7"] {
            let found = if lines == "7" { "a number" } else { "text" };
            let said = rule(&format!(r#"{{"title": "a", "lines": {lines}}}"#));
            assert_eq!(said, format!("must be an array, not {found}"));
        }
        let said = rule(r#"{"title": "a", "kind": "x`, expected `y"}"#);
        assert_eq!(said, "must be `one`");
        for body in ["null", "7", r#""a""#, "[]"] {
            assert_eq!(rule(body), "must be a JSON object");
        }
    }

    #[test]
    fn empty_body_is_named() {
        for body in ["", " ", "\r\n\t"] {
            let Err(Error::Malformed(said)) = json::<Body>(None, body.as_bytes()) else {
                panic!("{body:?} was read");
            };
            assert!(said.contains("empty"), "{said}");
        }
    }

    #[test]
    fn non_json_is_malformed() {
        for body in [
            "",
            "{",
            "{]",
            r#"{"title": "a"}{}"#,
            "nope",
            r#"{"other": }"#,
            "{\"title\": \"\n\"}",
            "[[[",
        ] {
            let read = json::<Body>(None, body.as_bytes());
            assert!(matches!(read, Err(Error::Malformed(_))), "{body}: {read:?}");
        }
        assert!(matches!(json::<Body>(None, b"\xff"), Err(Error::Malformed(_))));
    }

    #[test]
    fn another_media_type_is_refused() {
        for content_type in ["text/plain", "application/xml", "multipart/form-data; boundary=x"] {
            let read = json::<Body>(Some(content_type), b"{}");
            assert!(matches!(read, Err(Error::UnsupportedMediaType)), "{content_type}");
        }
        assert!(json::<Body>(Some("Application/JSON; charset=utf-8"), br#"{"title": "a"}"#).is_ok());
    }

    #[test]
    fn plus_in_a_query_gets_a_hint() {
        let rule = |text: &str| match query::<Body>(text) {
            Err(Error::Invalid(errors)) => errors[0].rule.clone(),
            other => panic!("{other:?}"),
        };
        for text in ["title=a&kind=on+e", "kind=+&title=a", "kind=a%20+b&title=a"] {
            assert!(rule(text).ends_with("write %2B"), "{text}");
        }
        for text in [
            "title=a+b&kind=x",
            "title=a&kind=on%2Be",
            "title=a&other=1",
            "a+b=1&title=a",
        ] {
            assert!(!rule(text).contains("%2B"), "{text}");
        }
    }

    #[test]
    fn only_identity_is_no_compression() {
        for plain in ["", "identity", "Identity", "identity, identity"] {
            assert!(is_identity(plain), "{plain}");
        }
        for other in ["gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip", "?"] {
            assert!(!is_identity(other), "{other}");
        }
    }

    #[test]
    fn bad_query_parameter_is_refused() {
        for text in ["title=a&title=b", "title=a&other=1"] {
            assert!(matches!(query::<Body>(text), Err(Error::Invalid(_))), "{text}");
        }
    }
}
