//! Tokens for RDS: signed here, and reused, because RDS verifies only about 200 new ones per second.
//!
//! Invariants: a rejected token is not used again. Does no I/O except reading the role's credentials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{CredentialError, aws};
use crate::config::DatabaseUrl;
use crate::db::clock::Moment;

/// How long a token is used, out of the fifteen minutes of its validity: the rest allows for clock differences.
const REUSE_FOR: Duration = Duration::from_secs(10 * 60);

pub(super) struct Tokens {
    region: String,
    cached: Mutex<HashMap<Login, Token>>,
}

/// A token is valid for one host, port and user.
type Login = (String, u16, String);

struct Token {
    url: Arc<DatabaseUrl>,
    signed: Moment,
    /// Less than [`REUSE_FOR`] if the role's credentials expire sooner.
    reuse_for: Duration,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokens").field(&self.region).finish()
    }
}

impl Tokens {
    /// Creates tokens for databases in `region`.
    pub(super) fn new(region: String) -> Self {
        Self {
            region,
            cached: Mutex::default(),
        }
    }

    /// Returns `url` with a token in it.
    pub(super) async fn get(&self, url: &DatabaseUrl) -> Result<Arc<DatabaseUrl>, CredentialError> {
        let (host, port) = url.address();
        let login = (host.to_owned(), port, url.user().to_owned());
        if let Some(token) = self.cached().get(&login)
            && token.signed.elapsed() < token.reuse_for
        {
            return Ok(Arc::clone(&token.url));
        }
        let role = aws::role().await?;
        let now = SystemTime::now();
        let valid_for = role
            .expiry()
            .map(|expiry| expiry.duration_since(now).unwrap_or_default());
        let text = aws::token(host, port, url.user(), &self.region, role, now)?;
        let url = Arc::new(url.with_token(text));
        let token = Token {
            url: Arc::clone(&url),
            signed: Moment::now(),
            reuse_for: valid_for.map_or(REUSE_FOR, |left| left.min(REUSE_FOR)),
        };
        self.cached().insert(login, token);
        Ok(url)
    }

    /// Makes the next [`Tokens::get`] sign another token. Signing is cheap, so all are discarded if one was rejected.
    pub(super) fn forget(&self) {
        self.cached().clear();
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<Login, Token>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
