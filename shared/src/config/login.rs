//! How connections authenticate: URL password, Secrets Manager secret, or RDS IAM token.
//!
//! Invariants: holds no secret. `db::credentials` reads a secret of Secrets Manager at connect, and
//! [`DatabaseUrl::with_secret`](super::DatabaseUrl::with_secret) parses it.

use super::{
    AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_REGION, ConfigError, DATABASE_IAM_AUTH,
    DATABASE_SECRET_ARN, DATABASE_URL,
};

/// How connections authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// With the URL's user and password.
    Url,
    /// With the current user and password of a Secrets Manager secret.
    Secret(SecretSource),
    /// As the URL's user, with a token that is signed at each connect, for a database in `region`.
    Iam {
        /// For example `eu-west-1`.
        region: String,
    },
}

/// The location of a secret, and which settings it can contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// The secret's whole ARN.
    pub arn: String,
    /// The region in the ARN.
    pub region: String,
    /// Another endpoint than the region's own: an interface endpoint's name, or a test server.
    pub endpoint: Option<String>,
    /// Whether `DATABASE_URL` is not set, so that a connection string in the secret can define TLS.
    pub alone: bool,
}

impl Login {
    pub(super) fn read(value: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let iam = match value(DATABASE_IAM_AUTH).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(ConfigError::new(DATABASE_IAM_AUTH, "must be true or false")),
        };
        match (value(DATABASE_SECRET_ARN), iam) {
            (None, false) => Ok(Self::Url),
            (None, true) => Ok(Self::Iam {
                region: value(AWS_REGION).ok_or_else(|| {
                    ConfigError::new(AWS_REGION, "is not set; Lambda sets it, and the token is signed for it")
                })?,
            }),
            (Some(_), true) => Err(ConfigError::new(
                DATABASE_IAM_AUTH,
                "cannot be true while DATABASE_SECRET_ARN is set: unset the one that is not meant",
            )),
            (Some(arn), false) => Ok(Self::Secret(SecretSource {
                region: region_of(&arn)?,
                arn,
                endpoint: value(AWS_ENDPOINT_URL_SECRETS_MANAGER).or_else(|| value(AWS_ENDPOINT_URL)),
                alone: value(DATABASE_URL).is_none(),
            })),
        }
    }
}

/// Returns the region in an ARN such as `arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf`.
fn region_of(arn: &str) -> Result<String, ConfigError> {
    let parts: Vec<_> = arn.splitn(7, ':').collect();
    match parts.as_slice() {
        ["arn", _, "secretsmanager", region, _, "secret", name] if !region.is_empty() && !name.is_empty() => {
            Ok((*region).to_owned())
        }
        _ => Err(ConfigError::new(
            DATABASE_SECRET_ARN,
            "must be a secret's whole ARN: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME",
        )),
    }
}
