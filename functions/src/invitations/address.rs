//! E-mail addresses of invited people.

use serde::{Deserialize, Deserializer, de};

/// An e-mail address, with its ASCII letters in lower case and without the spaces around it: one `@`, a dot in the domain,
/// no space or invisible character inside, at most 254 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Email(String);

#[cfg(feature = "openapi")]
shared::schema!(Email, |schema| {
    let unusable = r"@\s\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff";
    let (usable, label) = (format!("[^{unusable}]"), format!("[^.{unusable}]+"));
    let text = schema.schema_type(Type::String).max_length(Some(254));
    // Not `format`, which accepts fewer addresses than this rule.
    text.pattern(Some(format!(r"^ *{usable}+@{label}(\.{label})+ *$")))
});

impl Email {
    /// Returns the address.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        // As in a token's claim.
        let text = text.trim_matches(' ');
        let (local, domain) = text.split_once('@')?;
        let unusable = |c: char| c.is_whitespace() || c.is_control() || c == '@' || is_invisible(c);
        let dotted = domain.contains('.') && !domain.split('.').any(str::is_empty);
        let fits = text.chars().count() <= 254;
        let sound = !local.is_empty() && dotted && fits && !local.contains(unusable) && !domain.contains(unusable);
        sound.then(|| Self(text.to_ascii_lowercase()))
    }
}

/// Returns whether a character is not seen, but makes the address another one: text that is copied from a page or an
/// address book may have some. Those that join letters are part of some scripts.
fn is_invisible(c: char) -> bool {
    let marks = ['\u{ad}', '\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{feff}'];
    marks.contains(&c) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let rule = "must be an e-mail address such as name@example.com, of at most 254 characters, none invisible";
            de::Error::custom(rule)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_accepts_only_addresses() {
        for good in [
            "ada@example.com",
            "a.b+c@sub.example.co",
            "ünï@exämple.de",
            "ن\u{200c}ا@example.com",
        ] {
            assert!(Email::parse(good).is_some(), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(243));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "ada@.com",
            "ada@example.",
            "a@b@c.de",
            "a b@c.de",
            "a@c.d e",
            "a\0@c.de",
            "a@c\n.de",
            "\u{202a}ada@example.com\u{202c}",
            "ada@example.com\u{200b}",
            "a\u{ad}da@example.com",
            "ada@ex\u{2060}ample.com",
            "\u{feff}ada@example.com",
            &long,
        ] {
            assert!(Email::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn email_ignores_case_and_spaces_around() {
        assert_eq!(Email::parse("Ada@Example.COM"), Email::parse("ada@example.com"));
        assert_eq!(Email::parse("  ada@example.com "), Email::parse("ada@example.com"));
        assert_eq!(Email::parse("\tada@example.com"), None);
        assert_eq!(Email::parse("\u{a0}ada@example.com"), None);
        // The lower case of the Kelvin sign is the letter k.
        assert_ne!(Email::parse("\u{212a}@example.com"), Email::parse("k@example.com"));
    }
}
