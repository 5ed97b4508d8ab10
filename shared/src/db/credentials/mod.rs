//! Credentials that are not in the URL: a secret that is rotated, or a signed token.
//!
//! Used before every connect, and again if the server rejects the credential. A secret is kept for the environment's
//! life and fetched only if there is none, if it was rejected, or if an outage lasts, because the database may have
//! moved. A token is reused. There is no timer: everything happens while connecting, and within the attempt's limit.
//! Warm connections survive a rotation; only new ones use the new password.
//!
//! Invariants: never retries Secrets Manager (`connect` does), and never shows a secret. No AWS code runs, and no AWS
//! client is created, unless the configuration requires it.

mod aws;
mod https;
mod secret;
mod token;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::deadline::Deadline;
use super::error::Error;
use super::kind::{Kind, Phase};
use crate::config::{DatabaseUrl, Login};
use secret::Secret;
use token::Tokens;

/// How connections authenticate, and the cached credential.
#[derive(Debug)]
pub(super) struct Credentials {
    url: Arc<DatabaseUrl>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The URL contains everything.
    Url,
    Secret(Box<Secret>),
    Iam(Tokens),
}

/// Why there is no credential.
#[derive(Clone, Debug)]
struct CredentialError {
    kind: Kind,
    cause: String,
}

impl CredentialError {
    fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
        }
    }
}

impl From<CredentialError> for Error {
    fn from(failure: CredentialError) -> Self {
        Self::bare(failure.kind, Phase::Connect).caused_by(failure.cause)
    }
}

impl Credentials {
    /// Creates the source without I/O.
    pub(super) fn new(url: &DatabaseUrl) -> Self {
        Self {
            url: Arc::new(url.clone()),
            source: match url.login() {
                Login::Url => Source::Url,
                Login::Secret(source) => Source::Secret(Box::new(Secret::new(url.clone(), source.clone()))),
                Login::Iam { region } => Source::Iam(Tokens::new(region.clone())),
            },
        }
    }

    /// Returns whether connections log in with an RDS IAM token.
    pub(super) fn are_iam(&self) -> bool {
        matches!(self.source, Source::Iam(_))
    }

    /// Returns the URL to connect with now: complete, including user and password. Takes at most half of the time left
    /// until `deadline`, so that there is time to connect.
    ///
    /// # Errors
    /// Fails with [`Kind::SecretUnreachable`] or [`Kind::NoCredential`], or with [`Kind::Auth`] while every version in
    /// Secrets Manager was rejected recently.
    pub(super) async fn get(&self, deadline: Deadline) -> Result<Arc<DatabaseUrl>, Error> {
        let bound = deadline.left() / 2;
        let found = match &self.source {
            Source::Url => return Ok(Arc::clone(&self.url)),
            // Boxed here and below: the libraries' futures are large and deep, and would be part of every request's
            // future.
            Source::Secret(secret) => timeout(bound, secret.get(bound).boxed()).await,
            Source::Iam(tokens) => timeout(bound, tokens.get(&self.url).boxed()).await,
        };
        Ok(found.unwrap_or_else(|_| Err(self.late(bound)))?)
    }

    /// Records that the server accepted a connection.
    pub(super) fn accepted(&self) {
        match &self.source {
            Source::Secret(secret) => secret.answered(),
            Source::Url | Source::Iam(_) => {}
        }
    }

    /// Records that the server answered a connect with `url` with a failure of `kind`. Returns another URL to connect
    /// with if the user or password was rejected and there is another.
    ///
    /// # Errors
    /// As [`Credentials::get`].
    pub(super) async fn refused(
        &self,
        url: &Arc<DatabaseUrl>,
        kind: Kind,
        deadline: Deadline,
    ) -> Result<Option<Arc<DatabaseUrl>>, Error> {
        let secret = match &self.source {
            Source::Url => return Ok(None),
            Source::Iam(tokens) => {
                if kind == Kind::Auth || kind == Kind::Throttled {
                    tokens.forget();
                }
                return Ok(None);
            }
            Source::Secret(secret) => secret,
        };
        if kind == Kind::Saturated {
            secret.answered();
        }
        if kind != Kind::Auth {
            return Ok(None);
        }
        let bound = deadline.left() / 2;
        let found = timeout(bound, secret.instead_of(url).boxed()).await;
        match found.unwrap_or_else(|_| Err(self.late(bound))) {
            Ok(url) => Ok(Some(url)),
            Err(failure) if failure.kind == Kind::Auth => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    fn late(&self, bound: Duration) -> CredentialError {
        let bound = bound.as_millis();
        match &self.source {
            Source::Secret(secret) => CredentialError::new(
                Kind::SecretUnreachable,
                format!("{}: no answer within {bound} ms", secret.arn()),
            ),
            Source::Url | Source::Iam(_) => CredentialError::new(
                Kind::NoCredential,
                format!("the role's credentials were not there within {bound} ms"),
            ),
        }
    }
}
