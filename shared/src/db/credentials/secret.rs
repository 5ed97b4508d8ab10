//! A secret of Secrets Manager: held, and replaced when the database refuses it.
//!
//! During a rotation the database takes the new password (setSecret) before the secret's AWSCURRENT moves to it
//! (finishSecret). So what follows a refusal is AWSCURRENT again, and if that was refused too, AWSPENDING. When neither
//! will do, the refusal is answered at once for [`COOL_DOWN`]: neither Secrets Manager nor the server's log is filled by
//! a wrong password.
//!
//! A database that moved refuses nothing: nothing answers where it was. So once no connect has succeeded for as long as
//! an outage may keep a request waiting, AWSCURRENT is read again, every [`RECHECK_INTERVAL`] at most.
//!
//! One task asks at a time; others wait for what it finds. A dropped future leaves all as it was.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Failure;
use super::aws::{self, Stage};
use crate::config::{DatabaseUrl, SecretSource};
use crate::db::clock::Moment;
use crate::db::error::Kind;

/// How long what was refused is not tried again, and Secrets Manager not asked for another. A rotation that has got
/// stuck is mended by a person; one that is under way is seen by AWSPENDING.
const COOL_DOWN: Duration = Duration::from_secs(5);

/// Between two looks at a secret in an outage: a thousand environments that are asked for something all the time make a
/// hundred requests a second, a hundredth of what Secrets Manager allows.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How long no connect succeeds before the secret is read again, if `pool_timeout` has no limit.
const DEFAULT_OUTAGE: Duration = Duration::from_secs(8);

pub(super) struct Secret {
    url: DatabaseUrl,
    source: SecretSource,
    state: Mutex<State>,
    /// The first connect that no answer has followed yet.
    unanswered_since: std::sync::Mutex<Option<Moment>>,
}

/// No `Debug`: it holds secrets.
#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The texts that the database has refused, and when.
    refused: Vec<(String, Moment)>,
    cooling: Option<(Failure, Moment)>,
    rechecked: Option<Moment>,
}

struct Held {
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

    /// What is held, else what Secrets Manager has, for a connect. In an outage that has lasted, at most half of `bound`
    /// goes into finding out whether the secret has changed.
    pub(super) async fn get(&self, bound: Duration) -> Result<Arc<DatabaseUrl>, Failure> {
        let mut state = self.state.lock().await;
        if self.outage_has_lasted() && state.held.is_some() {
            self.recheck(&mut state, bound / 2).await;
        }
        self.usable(&mut state).await
    }

    /// Notes that the database answered.
    pub(super) fn answered(&self) {
        *self.unanswered_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Counts from the first connect that no [`Secret::answered`] follows.
    fn outage_has_lasted(&self) -> bool {
        let mut since = self.unanswered_since.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = self.url.pool_timeout().unwrap_or(DEFAULT_OUTAGE);
        since.get_or_insert_with(Moment::now).elapsed() >= outage
    }

    /// Replaces what is held if the secret has changed. If the secret cannot be read, what is held may still be right.
    async fn recheck(&self, state: &mut State, bound: Duration) {
        if state.rechecked.is_some_and(|last| last.elapsed() < RECHECK_INTERVAL) {
            return;
        }
        state.rechecked = Some(Moment::now());
        match timeout(bound, self.look(state)).await {
            Ok(Ok(found)) if state.held.as_ref().is_none_or(|held| held.text != found.text) => {
                tracing::info!(secret = self.source.arn, "the secret has changed during an outage");
                state.held = Some(found);
            }
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => tracing::debug!(said = failure.said, "the secret could not be read again"),
            Err(_) => tracing::debug!("the secret could not be read again in time"),
        }
    }

    /// What another task has found meanwhile, else what Secrets Manager has besides the refused one.
    pub(super) async fn instead_of(&self, refused: &Arc<DatabaseUrl>) -> Result<Arc<DatabaseUrl>, Failure> {
        let mut state = self.state.lock().await;
        if let Some(held) = state.held.take_if(|held| Arc::ptr_eq(&held.url, refused)) {
            state.refused.retain(|(_, since)| since.elapsed() < COOL_DOWN);
            state.refused.push((held.text, Moment::now()));
        }
        self.usable(&mut state).await
    }

    async fn usable(&self, state: &mut State) -> Result<Arc<DatabaseUrl>, Failure> {
        if let Some(held) = &state.held {
            return Ok(Arc::clone(&held.url));
        }
        if let Some((failure, since)) = &state.cooling
            && since.elapsed() < COOL_DOWN
        {
            return Err(failure.clone());
        }
        match self.look(state).await {
            Ok(held) => {
                let held = state.held.insert(held);
                Ok(Arc::clone(&held.url))
            }
            Err(failure) => {
                // What may pass by itself is tried again with the connect's own back-off.
                if failure.kind != Kind::SecretUnreachable {
                    state.cooling = Some((failure.clone(), Moment::now()));
                }
                Err(failure)
            }
        }
    }

    async fn look(&self, state: &State) -> Result<Held, Failure> {
        // AWSCURRENT twice: AWSPENDING is gone when the rotation has ended between the first two questions.
        for stage in [Stage::Current, Stage::Pending, Stage::Current] {
            let Some(text) = aws::secret(&self.source, stage).await? else {
                continue;
            };
            if !state.refused_lately(&text) {
                let url = self.url.with_secret(&text);
                let url = url.map_err(|error| Failure::new(Kind::NoCredential, error.to_string()))?;
                return Ok(Held {
                    text,
                    url: Arc::new(url),
                });
            }
            if stage == Stage::Pending {
                break;
            }
        }
        Err(Failure::new(
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
