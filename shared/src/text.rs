//! Text fields whose types enforce their rule: deserialized values are valid, and errors name the rule.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

/// Text of 1 to `MAX` characters, not only spaces, without NUL, which PostgreSQL cannot store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

/// [`Text`] without the spaces around it: a copied id or name may have some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Trimmed<const MAX: usize>(String);

/// An absolute http or https URL of at most 8,192 characters: presigned URLs can be long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HttpUrl(String);

/// A UUID of 36 characters, hyphens included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Id(Uuid);

impl<const MAX: usize> Text<MAX> {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Trimmed<MAX> {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HttpUrl {
    /// Returns the URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Id {
    /// The rule in the error for an invalid id.
    pub const RULE: &str = "must be a UUID such as 01890c5e-0000-7000-8000-000000000000";

    /// Parses the hyphenated form only: `uuid` would also accept braces, a URN prefix and missing hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|_| text.len() == 36).map(Self)
    }

    /// Returns the UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl<const MAX: usize> AsRef<str> for Text<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for HttpUrl {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length = text.chars().count();
        if text.trim().is_empty() {
            return Err(rule("must not be empty"));
        }
        if length > MAX {
            return Err(rule(format_args!("must have at most {MAX} characters, not {length}")));
        }
        if text.contains('\0') {
            return Err(rule("must not contain the character NUL"));
        }
        Ok(Self(text))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Trimmed<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::<MAX>::deserialize(deserializer)?.0;
        Ok(Self(text.trim().to_owned()))
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::<8192>::deserialize(deserializer)?.0;
        url::Url::parse(&text).map_err(|_| rule("must be an absolute URL"))?;
        let scheme = text
            .split_once(':')
            .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let rest = match scheme {
            Some((scheme, rest)) if matches!(&*scheme, "http" | "https") => rest,
            _ => return Err(rule("must be an http or https URL")),
        };
        // A browser takes a backslash for a slash.
        let mut parts = rest.trim_start_matches(['/', '\\']).split(['/', '\\', '?', '#']);
        if parts.next().is_some_and(|authority| authority.contains('@')) {
            return Err(rule("must not contain a user name or password"));
        }
        if text.contains(|c: char| c.is_control() || changes_direction(c)) {
            return Err(rule(
                "must not contain control characters or ones that change the direction of text",
            ));
        }
        Ok(Self(text))
    }
}

/// Whether it is one of Unicode's bidirectional formatting characters, with which an address is shown as another one.
fn changes_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| rule(Self::RULE))
    }
}

/// Implements enumerations as text in every format: serde's derived implementation would accept `{"completed": null}`
/// as well. Each type derives its two traits with `remote = "Self"`, and this macro implements them.
#[macro_export]
macro_rules! names {
    ($($name:ty),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$name>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                <$name>::deserialize(serde::de::IntoDeserializer::<D::Error>::into_deserializer(text))
            }
        }
    )+};
}

/// Describes the rule of a type's `Deserialize` in JSON Schema, for `openapi.json`, starting from the empty schema.
#[cfg(feature = "openapi")]
#[macro_export]
macro_rules! schema {
    ($name:ty $(, <const $max:ident>)?, |$schema:ident| $body:expr) => {
        const _: () = {
            #[allow(unused_imports, reason = "each type needs some")]
            use utoipa::openapi::{ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
            use utoipa::{PartialSchema, ToSchema};

            impl$(<const $max: usize>)? PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let $schema = ObjectBuilder::new();
                    $body.into()
                }
            }

            impl$(<const $max: usize>)? ToSchema for $name {
                fn name() -> std::borrow::Cow<'static, str> {
                    // It does not appear in the document, because the schema is inlined at each use.
                    [stringify!($name) $(, &$max.to_string())?].concat().into()
                }
            }
        };
    };
}
#[cfg(feature = "openapi")]
crate::schema!(Text<MAX>, <const MAX>, |schema| {
    let text = schema.schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX));
    // At least one character other than space, and no NUL.
    text.pattern(Some(r"^[^\u0000]*[^\s\u0000][^\u0000]*$"))
});

#[cfg(feature = "openapi")]
crate::schema!(Trimmed<MAX>, <const MAX>, |_schema| Text::<MAX>::schema());

#[cfg(feature = "openapi")]
crate::schema!(HttpUrl, |schema| {
    let text = schema
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uri".to_owned())));
    text.min_length(Some(1))
        .max_length(Some(8192))
        .pattern(Some("^[Hh][Tt][Tt][Pp][Ss]?:"))
});

fn rule<E: de::Error>(rule: impl fmt::Display) -> E {
    E::custom(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Result<Text<5>, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn length_counts_characters() {
        assert!(text(r#""ééééé""#).is_ok());
        assert!(text(r#""éééééé""#).unwrap_err().contains("at most 5"));
    }

    #[test]
    fn unstorable_text_is_refused() {
        assert!(text(r#""a\u0000""#).unwrap_err().contains("NUL"));
        assert!(text(r#""  ""#).unwrap_err().contains("empty"));
    }

    #[test]
    fn trimmed_text_has_the_rules_of_text() {
        let read = |text: &str| serde_json::from_value::<Trimmed<5>>(text.into()).map_err(|error| error.to_string());
        assert_eq!(read(" a b\n").unwrap().as_str(), "a b");
        assert!(read(" \t").unwrap_err().contains("empty"));
        assert!(read("\0").unwrap_err().contains("NUL"));
        assert!(read("123456").unwrap_err().contains("at most 5"));
    }

    #[test]
    fn uuid_has_one_form() {
        let good = "01890C5E-0000-7000-8000-000000000001";
        let read = |text: &str| serde_json::from_value::<Id>(text.into()).map_err(|error| error.to_string());
        assert_eq!(read(good).unwrap().uuid(), Uuid::parse_str(good).unwrap());
        for bad in [
            &*format!("{{{good}}}"),
            &format!("urn:uuid:{good}"),
            &good.replace('-', ""),
            "01890c5e-0000-7000-8000-00000000000g",
            "",
        ] {
            assert_eq!(read(bad).unwrap_err(), Id::RULE, "{bad}");
        }
    }

    #[test]
    fn only_web_addresses_are_urls() {
        let read = |text: &str| serde_json::from_value::<HttpUrl>(text.into()).map_err(|error| error.to_string());
        for (bad, says) in [
            ("javascript:alert(1)", "http or https"),
            ("ftp://x/y", "http or https"),
            (" https://x/y", "http or https"),
            ("/relative", "absolute"),
            ("nope", "absolute"),
            ("https://meet.example.com@evil.example/a", "user name"),
            ("https://me:secret@meet.example.com", "user name"),
            ("https:\\\\@meet.example.com/a", "user name"),
            ("https://meet.example.com/a\n", "control"),
            ("https://meet.example.com/\u{202e}gpj.exe", "direction"),
            ("https://meet.example.com/\u{2066}a", "direction"),
        ] {
            assert!(read(bad).unwrap_err().contains(says), "{bad}");
        }
        for good in [
            "https://meet.example.com/a?b@c",
            "HTTP://example.com/@me",
            "https://example.com#a@b",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
    }
}
