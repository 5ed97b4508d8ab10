//! A secret of Secrets Manager: held, and replaced when the database refuses it.
//!
//! During a rotation the database takes the new password (setSecret) before the secret's AWSCURRENT moves to it
//! (finishSecret). So what follows a refusal is AWSCURRENT again, and if that was refused too, AWSPENDING. When neither
//! will do, the refusal is answered at once for [`COOL_DOWN`]: neither Secrets Manager nor the server's log is filled by
//! a wrong password.
//!
//! One task asks at a time; others wait for what it finds. A dropped future leaves all as it was.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::Failure;
use super::aws::{self, Stage};
use crate::config::{DatabaseUrl, SecretSource};
use crate::db::clock::Moment;
use crate::db::error::Kind;

/// How long what was refused is not tried again, and Secrets Manager not asked for another. A rotation that has got
/// stuck is mended by a person; one that is under way is seen by AWSPENDING.
const COOL_DOWN: Duration = Duration::from_secs(5);

pub(super) struct Secret {
    url: DatabaseUrl,
    source: SecretSource,
    state: Mutex<State>,
}

/// No `Debug`: it holds secrets.
#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The texts that the database has refused, and when.
    refused: Vec<(String, Moment)>,
    cooling: Option<(Failure, Moment)>,
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
        }
    }

    pub(super) fn arn(&self) -> &str {
        &self.source.arn
    }

    /// What is held, else what Secrets Manager has.
    pub(super) async fn get(&self) -> Result<Arc<DatabaseUrl>, Failure> {
        let mut state = self.state.lock().await;
        self.usable(&mut state).await
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
