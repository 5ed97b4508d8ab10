//! The product's own environment variables; `shared::config` has the engine's.
//!
//! | variable | unit | default | set too low |
//! |---|---|---|---|
//! | `WEBHOOK_SECRET` | `whsec_` and base64, or base64 alone | none; only `meetings-webhook` needs it | a short secret can be guessed, and with it a webhook forged |

use std::fmt;
use std::sync::OnceLock;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use shared::config::{ConfigError, variable};

const WEBHOOK_SECRET: &str = "WEBHOOK_SECRET";

/// Every variable of the product that a function's configuration can set.
pub const VARIABLES: &[&str] = &[WEBHOOK_SECRET];

/// The key of the webhooks' signature, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Returns this environment's secret, read once.
    ///
    /// # Errors
    /// Fails if the variable is not set, or is not base64.
    pub fn from_env() -> Result<&'static Self, ConfigError> {
        static SECRET: OnceLock<Result<WebhookSecret, ConfigError>> = OnceLock::new();
        let secret = SECRET.get_or_init(|| Self::parse(variable(WEBHOOK_SECRET)));
        secret.as_ref().map_err(Clone::clone)
    }

    /// Parses the variable's text.
    ///
    /// # Errors
    /// Fails if it is not set, or is not base64.
    pub fn parse(value: Option<String>) -> Result<Self, ConfigError> {
        const BASE64: GeneralPurpose = GeneralPurpose::new(
            &alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let wrong = |problem: &str| ConfigError::new(WEBHOOK_SECRET, problem);
        let text =
            value.ok_or_else(|| wrong("is not set; set it to the signing secret that the recording service shows"))?;
        let key = BASE64
            .decode(text.strip_prefix("whsec_").unwrap_or(&text))
            .unwrap_or_default();
        // With an empty key, every signature could be forged.
        if key.is_empty() {
            return Err(wrong("must be base64, with or without whsec_ in front"));
        }
        Ok(Self(key))
    }

    /// Returns the key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhook_secret_parses_but_is_hidden() {
        for text in ["whsec_c2VjcmV0IGtleQ==", "c2VjcmV0IGtleQ==", "whsec_c2VjcmV0IGtleQ"] {
            let secret = WebhookSecret::parse(Some(text.to_owned())).unwrap();
            assert_eq!(secret.key(), b"secret key");
            let shown = format!("{secret:?}");
            assert!(!shown.contains("c2Vj") && !shown.contains("115"), "{shown}");
        }
        for text in [None, Some("whsec_"), Some("not*base64")] {
            let error = WebhookSecret::parse(text.map(str::to_owned)).unwrap_err();
            assert_eq!(error.variable(), WEBHOOK_SECRET);
            assert!(!error.to_string().contains("not*base64"));
        }
    }
}
