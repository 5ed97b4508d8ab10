//! A secret of Secrets Manager: cached, and replaced when the database rejects it.
//!
//! During a rotation the database accepts the new password (setSecret) before the secret's AWSCURRENT label moves to it
//! (finishSecret). So after a rejection AWSCURRENT is read again, and if that was rejected too, AWSPENDING. If both are
//! rejected, the rejection is returned at once for [`COOL_DOWN`], so that a wrong password floods neither Secrets
//! Manager nor the server's log.
//!
//! If a database moves, nothing is rejected, because nothing listens at the old address. So if no connect has succeeded
//! for as long as an outage may delay a request, AWSCURRENT is read again, at most every [`RECHECK_INTERVAL`].
//!
//! One task at a time sends requests; others wait for its result. A dropped future leaves the state unchanged.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::CredentialError;
use super::aws::{self, VersionStage};
use crate::config::{DatabaseUrl, SecretSource};
use crate::db::clock::Moment;
use crate::db::kind::Kind;

/// How long a rejected credential is not tried again, and Secrets Manager not asked for another. A rotation that is
/// stuck needs an operator; a rotation in progress is covered by AWSPENDING.
const COOL_DOWN: Duration = Duration::from_secs(5);

/// The interval between two reads of a secret in an outage: a thousand busy environments make a hundred requests per
/// second, a hundredth of Secrets Manager's limit.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How long connects must fail before the secret is read again, if `pool_timeout` has no limit.
const DEFAULT_OUTAGE: Duration = Duration::from_secs(8);

pub(super) struct Secret {
    url: DatabaseUrl,
    source: SecretSource,
    state: Mutex<State>,
    /// The first connect that was not yet followed by an answer.
    unanswered_since: std::sync::Mutex<Option<Moment>>,
}

/// No `Debug`: it contains secrets.
#[derive(Default)]
struct State {
    cached: Option<CachedSecret>,
    /// The texts that the database has rejected, and when.
    refused: Vec<(String, Moment)>,
    cooling: Option<(CredentialError, Moment)>,
    rechecked: Option<Moment>,
}

struct CachedSecret {
    text: String,
    url: Arc<DatabaseUrl>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secret").field(&self.source.arn).finish()
    }
}

impl Secret {
    pub(super) fn new(url: DatabaseUrl, source: SecretSource) -> Self {
        Self {
            url,
            source,
            state: Mutex::default(),
            unanswered_since: std::sync::Mutex::default(),
        }
    }

    pub(super) fn arn(&self) -> &str {
        &self.source.arn
    }

    /// Returns the cached credential for a connect, or reads it from Secrets Manager. During a lasting outage it uses
    /// at most half of `bound` to find out whether the secret has changed.
    pub(super) async fn get(&self, bound: Duration) -> Result<Arc<DatabaseUrl>, CredentialError> {
        let mut state = self.state.lock().await;
        if self.outage_has_lasted() && state.cached.is_some() {
            self.recheck(&mut state, bound / 2).await;
        }
        self.usable(&mut state).await
    }

    /// Records that the database answered.
    pub(super) fn answered(&self) {
        *self.unanswered_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns whether the outage lasts, counted from the first connect that no [`Secret::answered`] follows.
    fn outage_has_lasted(&self) -> bool {
        let mut since = self.unanswered_since.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = self.url.pool_timeout().unwrap_or(DEFAULT_OUTAGE);
        since.get_or_insert_with(Moment::now).elapsed() >= outage
    }

    /// Replaces the cached credential if the secret has changed. If the secret cannot be read, the cached one may still
    /// be valid.
    async fn recheck(&self, state: &mut State, bound: Duration) {
        if state.rechecked.is_some_and(|last| last.elapsed() < RECHECK_INTERVAL) {
            return;
        }
        state.rechecked = Some(Moment::now());
        match timeout(bound, self.look(state)).await {
            Ok(Ok(found)) if state.cached.as_ref().is_none_or(|cached| cached.text != found.text) => {
                tracing::info!(secret = self.source.arn, "the secret has changed during an outage");
                state.cached = Some(found);
            }
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => tracing::debug!(cause = failure.cause, "the secret could not be read again"),
            Err(_) => tracing::debug!("the secret could not be read again in time"),
        }
    }

    /// Returns the credential that another task has found meanwhile, or another one than the rejected from Secrets
    /// Manager.
    pub(super) async fn instead_of(&self, refused: &Arc<DatabaseUrl>) -> Result<Arc<DatabaseUrl>, CredentialError> {
        let mut state = self.state.lock().await;
        if let Some(cached) = state.cached.take_if(|cached| Arc::ptr_eq(&cached.url, refused)) {
            state.refused.retain(|(_, since)| since.elapsed() < COOL_DOWN);
            state.refused.push((cached.text, Moment::now()));
        }
        self.usable(&mut state).await
    }

    async fn usable(&self, state: &mut State) -> Result<Arc<DatabaseUrl>, CredentialError> {
        if let Some(cached) = &state.cached {
            return Ok(Arc::clone(&cached.url));
        }
        if let Some((failure, since)) = &state.cooling
            && since.elapsed() < COOL_DOWN
        {
            return Err(failure.clone());
        }
        match self.look(state).await {
            Ok(cached) => {
                let cached = state.cached.insert(cached);
                Ok(Arc::clone(&cached.url))
            }
            Err(failure) => {
                // Temporary failures are retried with the connect's own back-off.
                if failure.kind != Kind::SecretUnreachable {
                    state.cooling = Some((failure.clone(), Moment::now()));
                }
                Err(failure)
            }
        }
    }

    async fn look(&self, state: &State) -> Result<CachedSecret, CredentialError> {
        // AWSCURRENT twice: AWSPENDING is gone if the rotation ended between the first two requests.
        for version in [VersionStage::Current, VersionStage::Pending, VersionStage::Current] {
            let Some(text) = aws::secret(&self.source, version).await? else {
                continue;
            };
            if !state.refused_lately(&text) {
                let url = self.url.with_secret(&text);
                let url = url.map_err(|error| CredentialError::new(Kind::NoCredential, error.to_string()))?;
                return Ok(CachedSecret {
                    text,
                    url: Arc::new(url),
                });
            }
            if version == VersionStage::Pending {
                break;
            }
        }
        Err(CredentialError::new(
            Kind::Auth,
            format!(
                "the database has refused what {} holds, AWSPENDING included; it is asked for again in {} s at most",
                self.source.arn,
                COOL_DOWN.as_secs()
            ),
        ))
    }
}

impl State {
    fn refused_lately(&self, text: &str) -> bool {
        let mut refused = self.refused.iter();
        refused.any(|(refused, since)| refused == text && since.elapsed() < COOL_DOWN)
    }
}
