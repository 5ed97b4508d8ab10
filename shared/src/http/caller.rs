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
    /// The `email` claim, in lower case.
    pub email: Option<String>,
    /// The `name` claim.
    pub name: Option<String>,
    /// False only if the issuer states it: many issuers verify every address and omit this claim.
    pub email_verified: bool,
}

impl Caller {
    /// Returns a caller that no row can belong to, because a token's subject never contains a control character.
    pub(super) fn nonexistent() -> Self {
        Self {
            sub: "\u{1}".to_owned(),
            email: Some("nonexistent".to_owned()),
            name: None,
            email_verified: false,
        }
    }

    /// Reads the caller from `requestContext.authorizer.jwt.claims`.
    ///
    /// # Errors
    /// Fails with 401 without a usable `sub`.
    pub fn from_claims(claims: &HashMap<String, String>) -> Result<Self, Error> {
        let claim = |name: &str| {
            let text = claims.get(name)?.trim();
            let usable =
                !text.is_empty() && text.chars().count() <= MAX_CLAIM_LENGTH && !text.contains(char::is_control);
            usable.then(|| text.to_owned())
        };
        // With spaces around it, it is a different subject.
        let exact = |sub: &String| claims.get("sub") == Some(sub);
        let sub = claim("sub").filter(exact).ok_or_else(|| {
            Error::unauthorized("This needs a bearer token with a sub claim in the Authorization header.")
        })?;
        Ok(Self {
            sub,
            email: claim("email").map(|email| email.to_lowercase()),
            name: claim("name"),
            email_verified: claim("email_verified").is_none_or(|verified| verified == "true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(claims: &[(&str, &str)]) -> Result<Caller, Error> {
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
            assert!(matches!(caller(&claims), Err(Error::Unauthorized(_))), "{claims:?}");
        }
    }

    #[test]
    fn address_is_verified_by_default() {
        let verified = |value| caller(&[("sub", "a"), ("email", "A@b.c"), ("email_verified", value)]).unwrap();
        assert!(verified("true").email_verified);
        assert!(!verified("false").email_verified);
        let silent = caller(&[("sub", "a"), ("email", "A@b.c")]).unwrap();
        assert!(silent.email_verified);
        assert_eq!(silent.email.as_deref(), Some("a@b.c"));
    }
}
