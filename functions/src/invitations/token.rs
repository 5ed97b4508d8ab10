//! The token of an invitation's link: its bearer may accept the invitation.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use shared::http::Error;

/// A new token: 32 random bytes as base64url.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// Makes a token.
    ///
    /// # Errors
    /// Fails with 500 if the operating system has no random bytes.
    pub(super) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::Internal(format!("no random bytes for a token: {error}")))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Returns the text.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Returns the stored digest.
    pub(super) fn digest(&self) -> Vec<u8> {
        digest(&self.0)
    }
}

/// Never shows the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Returns the digest of a token that a client sent.
pub(super) fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_distinct() {
        let (one, two) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.0.len(), one.digest().len()), (43, 32));
        assert_eq!(format!("{one:?}"), "Token(…)");
        assert_eq!(digest(&one.0), one.digest());
    }
}
