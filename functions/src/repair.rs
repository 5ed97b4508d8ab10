//! Makes a webhook's JSON readable and storable: only values are replaced that PostgreSQL, `f64` or the JSON reader cannot
//! hold, or that JSON does not have. Its sender does not correct it, and the rest is worth keeping.

/// Numbers that JSON does not have, as some libraries write them.
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Stands for a character that cannot be stored.
const REPLACEMENT: &str = "\\ufffd";

/// The greatest depth of an array or object. The JSON reader's limit is 128, and it refuses the whole text.
const DEEPEST: usize = 100;

/// Returns the text with NUL characters and lone surrogates replaced, numbers that overflow or are none and values that
/// are too deep as null, and the number of replacements. Bytes that are not UTF-8 are replaced too, and count as one. A
/// byte order mark is left out.
pub(crate) fn repaired(body: &[u8]) -> (String, usize) {
    let text = String::from_utf8_lossy(body);
    let mut replaced = usize::from(matches!(text, std::borrow::Cow::Owned(_)));
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut in_string = false;
    // How many arrays and objects are open, and where the outermost of those that are too deep begins.
    let (mut depth, mut too_deep) = (0_usize, 0);
    while let Some(first) = rest.chars().next() {
        let not_a_number = NOT_NUMBERS.into_iter().find(|name| rest.starts_with(name));
        if let Some(name) = not_a_number.filter(|_| !in_string) {
            repaired.push_str("null");
            replaced += 1;
            rest = &rest[name.len()..];
            continue;
        }
        let taken = match first {
            '\\' if in_string => {
                let (taken, storable) = escape(rest);
                repaired.push_str(if storable { &rest[..taken] } else { REPLACEMENT });
                replaced += usize::from(!storable);
                taken
            }
            '-' | '0'..='9' if !in_string => {
                let taken = rest
                    .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
                    .unwrap_or(rest.len());
                let overflows = rest[..taken].parse::<f64>().is_ok_and(f64::is_infinite);
                repaired.push_str(if overflows { "null" } else { &rest[..taken] });
                replaced += usize::from(overflows);
                taken
            }
            '[' | '{' if !in_string => {
                if depth == DEEPEST {
                    too_deep = repaired.len();
                }
                depth += 1;
                repaired.push(first);
                1
            }
            ']' | '}' if !in_string => {
                depth = depth.saturating_sub(1);
                if depth == DEEPEST {
                    repaired.truncate(too_deep);
                    repaired.push_str("null");
                    replaced += 1;
                } else {
                    repaired.push(first);
                }
                1
            }
            _ => {
                in_string ^= first == '"';
                repaired.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    (repaired, replaced)
}

/// Returns the length of the escape that `text` begins with, both halves of a surrogate pair together, and whether it
/// can be stored.
fn escape(text: &str) -> (usize, bool) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    match unit(0) {
        Some(0 | 0xDC00..=0xDFFF) => (6, false),
        Some(0xD800..=0xDBFF) => match unit(6) {
            Some(0xDC00..=0xDFFF) => (12, true),
            _ => (6, false),
        },
        Some(_) => (6, true),
        // The escaped character may have several bytes; an incomplete escape is the JSON reader's to refuse.
        None => (1 + text.chars().nth(1).map_or(0, char::len_utf8), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unstorable_values_are_replaced() {
        for (sent, stored, count) in [
            (r#"{"a": "\u0000"}"#, r#"{"a": "\ufffd"}"#, 1),
            (r#"["\ud800", "\udc00\ud83d"]"#, r#"["\ufffd", "\ufffd\ufffd"]"#, 3),
            (
                r#"["\ud83d\ude00", "\\u0000", "\\\u0000"]"#,
                r#"["\ud83d\ude00", "\\u0000", "\\\ufffd"]"#,
                1,
            ),
            (r#"["\ud800\u0041", "\ud800\n"]"#, r#"["\ufffd\u0041", "\ufffd\n"]"#, 2),
            (
                r#"[1e400, -1E+999, 1.5e3, "1e400", 0]"#,
                r#"[null, null, 1.5e3, "1e400", 0]"#,
                2,
            ),
            (
                r#"{"a": NaN, "b":-Infinity, "c":[Infinity], "d": "NaN"}"#,
                r#"{"a": null, "b":null, "c":[null], "d": "NaN"}"#,
                3,
            ),
            ("\u{feff}[]", "[]", 0),
        ] {
            assert_eq!(repaired(sent.as_bytes()), (stored.to_owned(), count));
            assert!(serde_json::from_str::<serde_json::Value>(stored).is_ok(), "{stored}");
        }
        assert_eq!(repaired(b"[\"\xff\"]"), ("[\"\u{fffd}\"]".to_owned(), 1));
    }

    #[test]
    fn too_deep_value_is_null() {
        let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
        for (inner, stored, count) in [
            (r#"1, "[[{""#, r#"1, "[[{""#, 0),
            ("[]", "null", 1),
            (r#"{"a": [{}, "]"]}, 5, []"#, "null, 5, null", 2),
            (&nested(100_000, ""), "null", 1),
        ] {
            assert_eq!(
                repaired(nested(DEEPEST, inner).as_bytes()),
                (nested(DEEPEST, stored), count)
            );
        }
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEEPEST, "")).is_ok());
        // The reader refuses what is not closed, or not open.
        for broken in ["[".repeat(200), "]".repeat(200)] {
            assert_eq!(repaired(broken.as_bytes()), (broken.clone(), 0));
        }
    }

    #[test]
    fn storable_or_broken_text_is_unchanged() {
        for text in [
            r#"{"a": ["ä", "\"", 1, -0.5, null]}"#,
            "",
            "\"\\",
            "\"\\u12",
            "\"\\ä",
            "{]",
            "-",
        ] {
            assert_eq!(repaired(text.as_bytes()), (text.to_owned(), 0));
        }
    }
}
