//! The caller's identity: the claims of a token that the gateway has verified, and nothing else.

use std::collections::HashMap;

use super::problem::Error;

/// Longer claims are not accepted as an identity.
const MAX_CLAIM_LENGTH: usize = 255;

/// The caller, as the token's issuer identifies them; the database decides whether they have a user row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`.
    pub sub: String,
    /// The `email` claim, with its ASCII letters in lower case: other letters have no lower case that all systems agree
    /// on, and two addresses must not become one.
    pub email: Option<String>,
    /// The `name` claim.
    pub name: Option<String>,
    /// True only if the issuer states it: an address decides nothing without it.
    pub email_verified: bool,
}

impl Caller {
    /// Returns a caller that no row can belong to, because a token's subject never contains a control character.
    pub(super) fn nonexistent() -> Self {
        Self {
            sub: "\u{1}".to_owned(),
            email: Some("nonexistent".to_owned()),
            name: None,
            // So that INIT prepares the statements for callers with a verified address; no person can have this one.
            email_verified: true,
        }
    }

    /// Returns the error of a request without a caller.
    pub(super) fn missing() -> Error {
        Error::unauthorized("This needs a bearer token with a sub claim in the Authorization header.")
    }

    /// Returns the address, if the issuer states that it is verified.
    pub fn verified_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_verified)
    }

    /// Reads the caller from `requestContext.authorizer.jwt.claims`; returns `None` without a usable `sub`.
    pub(super) fn from_claims(claims: &HashMap<String, String>) -> Option<Self> {
        let claim = |name: &str| {
            let text = claims.get(name)?.trim_matches(' ');
            let usable =
                !text.is_empty() && text.chars().count() <= MAX_CLAIM_LENGTH && !text.contains(char::is_control);
            usable.then(|| text.to_owned())
        };
        // With spaces around it, it is a different subject.
        let exact = |sub: &String| claims.get("sub") == Some(sub);
        // A value that the issuer sends as null can arrive as this text.
        let stated = |name| claim(name).filter(|text| text != "null");
        Some(Self {
            sub: claim("sub").filter(exact)?,
            email: stated("email").map(|email| email.to_ascii_lowercase()),
            name: stated("name"),
            email_verified: claims.get("email_verified").is_some_and(|verified| verified == "true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(claims: &[(&str, &str)]) -> Option<Caller> {
        let owned = claims
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Caller::from_claims(&owned.collect())
    }

    #[test]
    fn no_usable_sub_is_no_caller() {
        let long = "x".repeat(256);
        for claims in [
            vec![],
            vec![("sub", "")],
            vec![("sub", " ")],
            vec![("sub", " a")],
            vec![("sub", "a\0b")],
            vec![("sub", &*long)],
        ] {
            assert_eq!(caller(&claims), None, "{claims:?}");
        }
    }

    #[test]
    fn only_true_verifies_an_address() {
        let verified = |value| caller(&[("sub", "a"), ("email", "A@b.c"), ("email_verified", value)]).unwrap();
        assert_eq!(verified("true").verified_email(), Some("a@b.c"));
        for other in ["false", "", "True", " true", "1", "null"] {
            assert_eq!(verified(other).verified_email(), None, "{other:?}");
        }
        let silent = caller(&[("sub", "a"), ("email", "A@b.c")]).unwrap();
        assert_eq!(silent.verified_email(), None);
        assert_eq!(silent.email.as_deref(), Some("a@b.c"));
    }

    #[test]
    fn null_as_text_is_no_claim() {
        let silent = caller(&[("sub", "a"), ("email", "null"), ("name", "null")]).unwrap();
        assert_eq!((silent.email, silent.name), (None, None));
        let named = caller(&[("sub", "null"), ("email", "null@b.c"), ("name", "Null")]).unwrap();
        assert_eq!(named.email.as_deref(), Some("null@b.c"));
        assert_eq!(named.name.as_deref(), Some("Null"));
    }

    /// The lower case of the Kelvin sign is the letter k.
    #[test]
    fn different_addresses_stay_different() {
        let email = |text| caller(&[("sub", "a"), ("email", text)]).unwrap().email;
        assert_eq!(email(" K@B.C "), Some("k@b.c".to_owned()));
        assert_eq!(email("\u{212a}@b.c"), Some("\u{212a}@b.c".to_owned()));
        assert_eq!(email("\u{a0}k@b.c"), Some("\u{a0}k@b.c".to_owned()));
    }
}
