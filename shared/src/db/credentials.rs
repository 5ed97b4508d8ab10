//! With what a connection logs in, where it is more than the URL says: a secret that is rotated, or a signed token.
//!
//! Asked before every connect, and again when the server refuses what was had. A secret is held for the environment's
//! life and fetched only when there is none, when the one held was refused, or when an outage has lasted: the database
//! may have moved. A token is reused. No timer: all of it happens while connecting, and within the attempt's bound. Warm
//! connections outlive a rotation; only new ones see it.
//!
//! May not: retry what Secrets Manager does not answer (that is `connect`'s), or show a secret. Nothing of AWS runs, and
//! no client for it is made, unless the configuration asks for it.

mod aws;
mod https;
mod secret;
mod token;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::deadline::Deadline;
use super::error::{Error, Kind, Phase};
use crate::config::{DatabaseUrl, Login};
use secret::Secret;
use token::Tokens;

/// The way connections log in, and what is held for it.
#[derive(Debug)]
pub(super) struct Credentials {
    url: Arc<DatabaseUrl>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The URL has it all.
    Url,
    Secret(Box<Secret>),
    Iam(Tokens),
}

/// Why there is nothing to log in with.
#[derive(Clone, Debug)]
struct Failure {
    kind: Kind,
    said: String,
}

impl Failure {
    fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self {
            kind,
            said: said.into(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::bare(failure.kind, Phase::Connect).caused_by(failure.said)
    }
}

impl Credentials {
    /// Does no I/O.
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

    /// The URL to connect with now: complete, user and password included. At most half of what `deadline` leaves, so
    /// that there is time to connect with it.
    ///
    /// # Errors
    /// [`Kind::SecretUnreachable`], [`Kind::NoCredential`], or [`Kind::Auth`] while everything that Secrets Manager has
    /// was refused a moment ago.
    pub(super) async fn get(&self, deadline: Deadline) -> Result<Arc<DatabaseUrl>, Error> {
        let bound = deadline.left() / 2;
        let found = match &self.source {
            Source::Url => return Ok(Arc::clone(&self.url)),
            // Boxed here and below: the libraries' futures are large and deep, and would be a part of every request's.
            Source::Secret(secret) => timeout(bound, secret.get(bound).boxed()).await,
            Source::Iam(tokens) => timeout(bound, tokens.get(&self.url).boxed()).await,
        };
        Ok(found.unwrap_or_else(|_| Err(self.late(bound)))?)
    }

    /// Notes that the server accepted a connection.
    pub(super) fn accepted(&self) {
        match &self.source {
            Source::Secret(secret) => secret.answered(),
            Source::Url | Source::Iam(_) => {}
        }
    }

    /// Notes that the server answered a connect with `url` with a failure of `kind`. Returns another URL to connect with
    /// if the user or password was refused and there is another.
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

    fn late(&self, bound: Duration) -> Failure {
        let bound = bound.as_millis();
        match &self.source {
            Source::Secret(secret) => Failure::new(
                Kind::SecretUnreachable,
                format!("{}: no answer within {bound} ms", secret.arn()),
            ),
            Source::Url | Source::Iam(_) => Failure::new(
                Kind::NoCredential,
                format!("the role's credentials were not there within {bound} ms"),
            ),
        }
    }
}
