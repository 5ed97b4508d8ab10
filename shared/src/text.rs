//! Text fields that carry their rule in their type: what deserializes is valid, and the error names the rule.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Text of 1 to `MAX` characters, not only spaces, without NUL, which PostgreSQL cannot store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

/// An absolute http or https URL of at most 8,192 characters: a presigned one can be long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HttpUrl(String);

impl<const MAX: usize> Text<MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HttpUrl {
    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
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

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::<8192>::deserialize(deserializer)?.0;
        let url = url::Url::parse(&text).map_err(|_| rule("must be an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") || text.contains(char::is_control) {
            return Err(rule("must be an http or https URL"));
        }
        Ok(Self(text))
    }
}

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
    fn characters_are_counted_not_bytes() {
        assert!(text(r#""ééééé""#).is_ok());
        assert!(text(r#""éééééé""#).unwrap_err().contains("at most 5"));
    }

    #[test]
    fn what_postgresql_cannot_store_is_refused_here() {
        assert!(text(r#""a\u0000""#).unwrap_err().contains("NUL"));
        assert!(text(r#""  ""#).unwrap_err().contains("empty"));
    }

    #[test]
    fn only_web_addresses_are_urls() {
        for bad in ["javascript:alert(1)", "ftp://x/y", "/relative", "nope"] {
            assert!(serde_json::from_value::<HttpUrl>(bad.into()).is_err(), "{bad}");
        }
        assert!(serde_json::from_value::<HttpUrl>("https://meet.example.com/a?b".into()).is_ok());
    }
}
