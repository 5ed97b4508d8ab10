//! The product's own environment variables; `shared::config` has the engine's.
//!
//! | variable | unit | default | set too low |
//! |---|---|---|---|
//! | `WEBHOOK_SECRET` | secrets that verify the recorder's deliveries, see below | none; only the recorder's webhooks need it | a short secret can be guessed, and with it a delivery forged |
//! | `CLERK_WEBHOOK_SECRET` | signing secrets as below | none; only `clerk-webhook` needs it | the same, for a person's address and name |
//!
//! `WEBHOOK_SECRET` holds one or more entries, separated by commas or spaces, so that a new secret can be added before
//! the old one is removed. Each secret has at least 24 bytes:
//!
//! | entry | verifies |
//! |---|---|
//! | `whsec_` and base64, or base64 alone | signed deliveries (Standard Webhooks, Svix) |
//! | `api-key:` and the account's API key | the header `x-meeting-baas-api-key` of the service's first API version |
//! | `mb-secret:` and a secret | the header `x-mb-secret` of a bot's callbacks in the second version |
//!
//! `SEER_LOCAL=true` is set by `cargo local` alone: it accepts the secret that is public in this repository.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use shared::config::{ConfigError, variable};
use subtle::ConstantTimeEq as _;

const WEBHOOK_SECRET: &str = "WEBHOOK_SECRET";
const CLERK_WEBHOOK_SECRET: &str = "CLERK_WEBHOOK_SECRET";

/// The variable with which `cargo local` says that a function runs on a developer's machine.
pub const LOCAL: &str = "SEER_LOCAL";

/// Signs the webhooks of `cargo local` if the developer has set no secret. It is public, so it is refused elsewhere.
pub const DEVELOPMENT_SECRET: &str = "whsec_c2VlcidzIGRldmVsb3BtZW50IHdlYmhvb2sgc2VjcmV0";

/// Every variable of the product that a function's configuration can set. [`LOCAL`] is not for a deployment.
pub const VARIABLES: &[&str] = &[WEBHOOK_SECRET, CLERK_WEBHOOK_SECRET];

/// The shortest secret, in bytes: what Standard Webhooks asks for.
const SHORTEST_SECRET: usize = 24;

/// A key of signatures, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Parses base64, with or without `whsec_` in front.
    ///
    /// # Errors
    /// Fails with the rule if it is not base64, or too short.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const BASE64: GeneralPurpose = GeneralPurpose::new(
            &alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let key = BASE64
            .decode(text.strip_prefix("whsec_").unwrap_or(text))
            .map_err(|_| "must be base64, with or without whsec_ in front")?;
        long_enough(&key)?;
        Ok(Self(key))
    }

    /// Returns the key's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// The secrets that a header may hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SharedSecrets(Vec<String>);

impl SharedSecrets {
    fn add(&mut self, secret: &str) -> Result<(), &'static str> {
        long_enough(secret.as_bytes())?;
        self.0.push(secret.to_owned());
        Ok(())
    }

    /// Returns whether `sent` is one of them, in a time that does not depend on where it differs.
    #[must_use]
    pub fn contain(&self, sent: &[u8]) -> bool {
        let equal = |secret: &String| secret.as_bytes().ct_eq(sent);
        self.0
            .iter()
            .map(equal)
            .fold(0.into(), |any: subtle::Choice, one| any | one)
            .into()
    }
}

impl fmt::Debug for SharedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecrets(redacted)")
    }
}

/// The secrets that verify the recorder's deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderSecrets {
    /// The keys of signed deliveries.
    pub signing: Vec<SigningKey>,
    /// The API keys of the recorder's account, for deliveries of its first version.
    pub api_keys: SharedSecrets,
    /// The secrets of callbacks.
    pub callbacks: SharedSecrets,
}

impl RecorderSecrets {
    /// Returns this environment's secrets, read once.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_env() -> Result<&'static Self, ConfigError> {
        static SECRETS: OnceLock<Result<RecorderSecrets, ConfigError>> = OnceLock::new();
        let secrets = SECRETS.get_or_init(|| Self::parse(variable(WEBHOOK_SECRET), is_local()));
        secrets.as_ref().map_err(Clone::clone)
    }

    /// Parses the variable's text.
    ///
    /// # Errors
    /// Fails if it is not set, if an entry is malformed or too short, and for the development secret unless `local`.
    pub fn parse(value: Option<String>, local: bool) -> Result<Self, ConfigError> {
        let mut secrets = Self::default();
        each_entry(WEBHOOK_SECRET, value, local, |entry| {
            if let Some(key) = entry.strip_prefix("api-key:") {
                secrets.api_keys.add(key)
            } else if let Some(secret) = entry.strip_prefix("mb-secret:") {
                secrets.callbacks.add(secret)
            } else {
                secrets.signing.push(SigningKey::parse(entry)?);
                Ok(())
            }
        })?;
        Ok(secrets)
    }
}

/// Returns the keys with which the identity provider signs, read once.
///
/// # Errors
/// Fails if the variable is not set, if an entry is malformed or too short, and for the development secret outside
/// `cargo local`.
pub fn clerk_signing_keys() -> Result<&'static [SigningKey], ConfigError> {
    static KEYS: OnceLock<Result<Vec<SigningKey>, ConfigError>> = OnceLock::new();
    let parse = || {
        let mut keys = Vec::new();
        each_entry(
            CLERK_WEBHOOK_SECRET,
            variable(CLERK_WEBHOOK_SECRET),
            is_local(),
            |entry| {
                keys.push(SigningKey::parse(entry)?);
                Ok(())
            },
        )?;
        Ok(keys)
    };
    KEYS.get_or_init(parse).as_deref().map_err(Clone::clone)
}

fn is_local() -> bool {
    variable(LOCAL).as_deref() == Some("true")
}

/// Calls `take` with each entry of a variable, of which there is at least one.
fn each_entry(
    name: &'static str,
    value: Option<String>,
    local: bool,
    mut take: impl FnMut(&str) -> Result<(), &'static str>,
) -> Result<(), ConfigError> {
    let unset = || ConfigError::new(name, "is not set; set it to the signing secret that the sender shows");
    let value = value.ok_or_else(unset)?;
    let mut entries = value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .peekable();
    entries.peek().ok_or_else(unset)?;
    for entry in entries {
        // The key itself is public, however it is written and whatever it verifies.
        let secret = SigningKey::parse(entry.rsplit_once(':').map_or(entry, |(_, secret)| secret));
        if !local && secret.is_ok() && secret == SigningKey::parse(DEVELOPMENT_SECRET) {
            return Err(ConfigError::new(
                name,
                "is the public secret of cargo local; set it to the secret that the sender shows",
            ));
        }
        take(entry).map_err(|rule| ConfigError::new(name, rule))?;
    }
    Ok(())
}

fn long_enough(secret: &[u8]) -> Result<(), &'static str> {
    if secret.len() < SHORTEST_SECRET {
        return Err("must have at least 24 bytes in each secret");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn parse(text: &str) -> Result<RecorderSecrets, ConfigError> {
        RecorderSecrets::parse(Some(text.to_owned()), false)
    }

    #[test]
    fn several_entries_are_read_and_hidden() {
        let other = "b3RoZXItb3RoZXItb3RoZXItb3RoZXItbw==";
        let key = "api-key:0123456789abcdef0123456789abcdef";
        let callback = "mb-secret:fedcba9876543210fedcba9876543210";
        for separator in [",", " ", "\n", ", "] {
            let secrets = parse(&[KEY, other, key, callback].join(separator)).unwrap();
            assert_eq!(secrets.signing.len(), 2);
            assert!(secrets.api_keys.contain(b"0123456789abcdef0123456789abcdef"));
            assert!(!secrets.api_keys.contain(b"0123456789abcdef0123456789abcdee"));
            assert!(!secrets.api_keys.contain(b""));
            assert!(!secrets.api_keys.contain(b"fedcba9876543210fedcba9876543210"));
            assert!(secrets.callbacks.contain(b"fedcba9876543210fedcba9876543210"));
            let shown = format!("{secrets:?}");
            assert!(!shown.contains("0123") && !shown.contains("fedc"), "{shown}");
        }
        assert_eq!(parse(KEY).unwrap(), parse(KEY.strip_prefix("whsec_").unwrap()).unwrap());
    }

    #[test]
    fn weak_secret_is_refused() {
        for text in [
            "",
            ",",
            "whsec_",
            "not*base64",
            "whsec_c2VjcmV0IGtleQ==",
            "api-key:",
            "api-key:0123456789abcdef0123456",
            "mb-secret:short",
            &format!("{KEY},whsec_c2VjcmV0"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.variable(), WEBHOOK_SECRET);
            assert!(!error.to_string().contains("c2Vj"), "{error}");
        }
        assert!(RecorderSecrets::parse(None, true).is_err());
    }

    #[test]
    fn development_secret_is_local() {
        let bare = DEVELOPMENT_SECRET.trim_start_matches("whsec_");
        for text in [
            DEVELOPMENT_SECRET,
            bare,
            &format!("{KEY} {bare}"),
            &format!("api-key:{DEVELOPMENT_SECRET}"),
            &format!("{KEY},mb-secret:{bare}"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains("public"));
            assert!(RecorderSecrets::parse(Some(text.to_owned()), true).is_ok());
        }
    }
}
