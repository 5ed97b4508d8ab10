//! Opens connections: one attempt, at one or several servers, and the retry loop of several attempts.
//!
//! Invariants: the last real cause is always kept. A dropped future closes its socket. A log-in that did not finish in
//! time is kept for the next attempt and is not polled meanwhile: nothing runs in the background. Depends on: `target`
//! and `credentials` for the server and the log-in, `tuned` for the options that sqlx does not set, `retry` for the
//! waits, and `classify` for the failures that are retried.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::timeout;

use super::classify::{Verdict, verdict};
use super::clock::{Moment, jitter};
use super::connection::Connection;
use super::credentials::Credentials;
use super::deadline::Deadline;
use super::error::Error;
use super::kind::{Kind, Phase};
use super::retry::{Policy, RetryLoop};
use super::session::Session;
use super::status::{ServerStatus, SessionIdentity};
use super::target::Target;
use super::tuned::Tuned;
use crate::config::{DatabaseUrl, RetryConfig};
use crate::telemetry::count;

/// How long the next of several servers is delayed while one is being tried.
const HEAD_START: Duration = Duration::from_millis(500);

/// A companion starts after this many times `connect_timeout`. Not after one: at a server with slow log-ins, each
/// companion adds another log-in.
const COMPANION_AFTER: u32 = 2;

/// How long an unfinished log-in is kept. A server closes a connection that has not logged in after a minute
/// (`authentication_timeout`).
const UNFINISHED_LOG_IN_KEPT: Duration = Duration::from_secs(30);

/// A connection is replaced at this age, or up to a third earlier, so that environments do not reconnect at the same
/// time: connections are distributed over new servers, and cached plans are renewed.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How soon after opening a connection to a standby a read looks for the writer. Doubled each time there is none.
const FIRST_WRITER_CHECK: Duration = Duration::from_secs(5);

/// The purpose of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reads: a standby is sufficient.
    Read,
    /// Statements that are not retried after a lost connection. A standby is sufficient: whether a write follows is
    /// unknown.
    Unrepeatable,
    /// Writes: the server must accept writes.
    Write,
}

/// Returns the URL that a connection opened now would log in with: `url` itself, or completed by its secret or a token.
/// For tools that connect to the server step by step.
///
/// # Errors
/// Fails with [`Kind::SecretUnreachable`] or [`Kind::NoCredential`], within half of the time left until `deadline`.
///
/// # Cancel safety
/// Dropping the future abandons the request for a secret, if there is one; nothing is kept of it.
pub async fn complete(url: &DatabaseUrl, deadline: Deadline) -> Result<Arc<DatabaseUrl>, Error> {
    let found = Credentials::new(url).get(deadline).await;
    found.map_err(|failed| failed.trying(url.target()))
}

/// A log-in to the database: needs no timeout of its own once TCP is connected, and continues when it is polled again.
type LogIn = BoxFuture<'static, Result<Connection, Error>>;

/// A log-in that did not finish in time. A busy server processes log-ins in turn, and a dropped one loses its place, so
/// the next attempt continues it.
#[derive(Default)]
pub(crate) struct Unfinished(Mutex<Option<(Moment, LogIn)>>);

impl Unfinished {
    /// Takes the log-in that was kept last, unless the server has ended it by now.
    fn take(&self) -> Option<LogIn> {
        let (since, log_in) = self.slot().take()?;
        (since.elapsed() < UNFINISHED_LOG_IN_KEPT).then_some(log_in)
    }

    fn keep(&self, log_in: LogIn) {
        *self.slot() = Some((Moment::now(), log_in));
    }

    /// Returns whether one is kept.
    pub(super) fn is_kept(&self) -> bool {
        self.slot().is_some()
    }

    /// Closes its sockets, if one is kept.
    pub(super) fn discard(&self) {
        drop(self.slot().take());
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Moment, LogIn)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unfinished").field(&self.is_kept()).finish()
    }
}

/// Performs one attempt within `connect_timeout`: the credential, DNS, TCP, TLS, authentication and the status.
///
/// # Errors
/// Fails with the cause; [`Kind::ReadOnly`] if it is for writes and no server accepts them.
///
/// # Cancel safety
/// Dropping the future closes the socket.
pub async fn connect_once(target: &Target, purpose: Purpose, deadline: Deadline) -> Result<Connection, Error> {
    attempt(target, purpose, target.within_attempt(deadline), &Unfinished::default()).await
}

/// Counts an attempt when it ends, also if it is dropped.
struct Connecting(Moment);

impl Drop for Connecting {
    fn drop(&mut self) {
        count(|counts| {
            counts.connects += 1;
            counts.connecting += self.0.elapsed();
        });
    }
}

/// Performs one attempt until `deadline`: continues the unfinished log-in, or starts one. Keeps a log-in that does not
/// finish.
///
/// # Errors
/// As [`connect_once`].
///
/// # Cancel safety
/// Dropping the future closes the socket, also that of the log-in that it continued.
pub(super) async fn attempt(
    target: &Target,
    purpose: Purpose,
    deadline: Deadline,
    unfinished: &Unfinished,
) -> Result<Connection, Error> {
    let since = Moment::now();
    let _counted = Connecting(since);
    let mut resumed = unfinished.take();
    let failed = loop {
        let is_resumed = resumed.is_some();
        let mut log_in = match resumed.take() {
            Some(log_in) => log_in,
            None => log_in(target.clone(), purpose, target.within_attempt(deadline)).boxed(),
        };
        match timeout(deadline.left(), &mut log_in).await {
            Ok(Ok(connection)) if connection.status.read_only && purpose == Purpose::Write => {
                connection.close().await;
                break Error::bare(Kind::ReadOnly, Phase::Connect);
            }
            Ok(Ok(connection)) => return Ok(connection),
            // It failed while it was not polled.
            Ok(Err(_)) if is_resumed => {}
            Ok(Err(failed)) => break failed,
            Err(_) => {
                unfinished.keep(log_in);
                break Error::bare(Kind::Timeout, Phase::Connect);
            }
        }
    };
    let failed = if failed.tried.is_empty() {
        failed.trying(&target.name)
    } else {
        failed
    };
    Err(failed.after(1, since.elapsed()))
}

/// Opens a connection with the current credential, and with each further one while the server rejects them. `deadline`
/// is for credentials.
async fn log_in(target: Target, purpose: Purpose, deadline: Deadline) -> Result<Connection, Error> {
    let since = Moment::now();
    let mut url = target.credentials.get(deadline).await?;
    loop {
        let failed = match race(&target, &url, purpose).await {
            Ok(mut connection) => {
                connection.connected_in = since.elapsed();
                target.credentials.accepted();
                return Ok(connection);
            }
            Err(failed) => failed,
        };
        match target.credentials.refused(&url, failed.kind, deadline).await? {
            Some(other) => url = other,
            None => return Err(failed),
        }
    }
}

/// Logs in to the URL's servers concurrently until one is sufficient; prefers a writer to a standby. Starts with the
/// server that accepted writes last; the next starts when one has failed, or [`HEAD_START`] after it. If none of them
/// answers for long, the first gets one companion: a path that lost this flow may carry another.
async fn race(target: &Target, url: &DatabaseUrl, purpose: Purpose) -> Result<Connection, Error> {
    let servers = url.servers();
    let first = target.writer.load(Ordering::Relaxed);
    let mut waiting: VecDeque<usize> = (0..servers.len()).map(|n| (first + n) % servers.len()).collect();
    let mut companion = target.attempt.map(|attempt| attempt * COMPANION_AFTER);
    let mut log_ins = FuturesUnordered::new();
    let mut begun = Moment::now();
    let (mut standby, mut failed) = (None, None);
    let mut next = waiting.pop_front();
    loop {
        if let Some(server) = next.take() {
            begun = Moment::now();
            let opened = servers.get(server).map(|url| open(target, url));
            log_ins.extend(opened.map(|opened| opened.map(move |opened| (server, opened))));
        }
        let has_one = standby.is_some() && purpose != Purpose::Write;
        let limit = if has_one || !waiting.is_empty() {
            Some(HEAD_START)
        } else {
            companion
        };
        let limit = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(begun.elapsed()));
        match timeout(limit, log_ins.next()).await {
            Ok(Some((server, Ok(connection)))) if !connection.status.read_only => {
                target.writer.store(server, Ordering::Relaxed);
                return Ok(Connection { server, ..connection });
            }
            Ok(Some((server, Ok(connection)))) => {
                let connection = Connection { server, ..connection };
                // One is sufficient for a read.
                if let Some(spare) = standby.replace(connection) {
                    Connection::close(spare).await;
                }
                next = waiting.pop_front();
            }
            Ok(Some((_, Err(error)))) => {
                failed = Some(worse(failed, error));
                next = waiting.pop_front();
            }
            Ok(None) => break,
            Err(_) if has_one && waiting.is_empty() => break,
            Err(_) => {
                next = waiting
                    .pop_front()
                    .or_else(|| companion.take().map(|_| first % servers.len()));
            }
        }
    }
    match (standby, failed) {
        (Some(standby), _) => Ok(standby),
        (None, Some(failed)) => Err(failed),
        (None, None) => Err(Error::bare(Kind::Timeout, Phase::Connect)),
    }
}

/// Logs in to the server with this number once, with the current credential: for queries about its session. Has no
/// limit except `deadline`.
///
/// # Errors
/// Fails with the cause if it is not connected by `deadline`.
///
/// # Cancel safety
/// Dropping the future closes the socket.
pub(super) async fn connect_beside(target: &Target, number: usize, deadline: Deadline) -> Result<Connection, Error> {
    let since = Moment::now();
    let opened = async {
        let url = target.credentials.get(deadline).await?;
        // A secret that was read again may contain fewer servers.
        let servers = url.servers();
        let server = servers.get(number).or(servers.first()).unwrap_or(&url);
        open(target, server).await
    };
    let Ok(opened) = timeout(deadline.left(), opened).await else {
        return Err(Error::bare(Kind::Timeout, Phase::Connect).trying(&target.name));
    };
    let mut connection = opened?;
    target.credentials.accepted();
    (connection.server, connection.connected_in) = (number, since.elapsed());
    Ok(connection)
}

/// Returns the more informative of two servers' failures: first those that another credential may resolve, then those
/// that a retry may.
fn worse(earlier: Option<Error>, error: Error) -> Error {
    let rank = |error: &Error| match verdict(Phase::Connect, error.kind, true) {
        Verdict::ReconnectOnce => 2,
        Verdict::Transient | Verdict::Reconnect => 1,
        Verdict::Permanent | Verdict::Ambiguous => 0,
    };
    match earlier {
        Some(earlier) if rank(&earlier) >= rank(&error) => earlier,
        Some(_) | None => error,
    }
}

/// Logs in to one server.
async fn open(target: &Target, url: &DatabaseUrl) -> Result<Connection, Error> {
    let opened = open_session(target, url).await;
    opened.map_err(|cause| Error::new(target.kind_of(&cause, url), Phase::Connect, cause).trying(url.target()))
}

async fn open_session(target: &Target, url: &DatabaseUrl) -> Result<Connection, sqlx::Error> {
    if let Err(problem) = url.check_authorities() {
        return Err(sqlx::Error::Tls(problem.into()));
    }
    let options = target.options(url);
    #[expect(clippy::disallowed_methods, reason = "only this module opens connections")]
    let connect = PgConnection::connect_with(&options);
    let mut connect = Tuned::new(connect, url);
    let mut connection = (&mut connect).await.map_err(|cause| {
        let problem = url.client_certificate_problem(&cause);
        problem.map_or(cause, |problem| sqlx::Error::Tls(problem.into()))
    })?;
    let opened = Moment::now();
    let status_query = sqlx::raw_sql(AssertSqlSafe(target.status_query.clone()));
    let row = connection.fetch_one(status_query).await?;
    let identity = SessionIdentity::from_row(&row)?;
    let socket = connect.socket();
    if let Some(socket) = socket {
        socket.set_up();
    }
    Ok(Connection {
        status: ServerStatus::from_row(&row)?,
        identity: identity.filter(|_| !target.pooled),
        server: 0,
        socket,
        session: Session {
            connection,
            disable_statement_cache: target.disable_statement_cache,
            version: target.stale_statements.load(Ordering::Relaxed),
            client_timeout: None,
            in_transaction: false,
            prepared: 0,
            statements: 0,
        },
        opened,
        used: Moment::now(),
        lifetime: MAX_LIFETIME - jitter(MAX_LIFETIME / 3),
        writer_checked: opened,
        writer_check_after: FIRST_WRITER_CHECK,
        connected_in: Duration::ZERO,
        failed_connects: 0,
        round_trip: opened.elapsed(),
    })
}

/// Retries until an attempt succeeds, the cause is permanent, or `deadline` or the attempts are exhausted. An attempt
/// that `deadline` interrupts is kept in `unfinished`, and the next one continues it.
///
/// # Errors
/// Fails with the last cause other than a timeout of this crate, if there was one.
///
/// # Cancel safety
/// Dropping the future closes the socket of the running attempt.
pub(crate) async fn connect_with_retry(
    target: &Target,
    purpose: Purpose,
    retry: &RetryConfig,
    deadline: Deadline,
    unfinished: &Unfinished,
) -> Result<Connection, Error> {
    let mut retries = RetryLoop::new(Policy::Connect, retry, deadline);
    let mut last: Option<Error> = None;
    loop {
        let failed = match attempt(target, purpose, deadline, unfinished).await {
            Ok(mut connection) => {
                connection.failed_connects = retries.attempt() - 1;
                return Ok(connection);
            }
            // An attempt that the deadline interrupted is less informative than the one before it.
            Err(cut) if cut.kind == Kind::Timeout && deadline.is_past() => last.take().unwrap_or(cut),
            Err(failed) => failed,
        };
        count(|counts| counts.attempts += 1);
        let slow = |kind| kind == Kind::Saturated || kind == Kind::Throttled;
        let before = last.map(|last| last.kind);
        if slow(failed.kind) && !before.is_some_and(slow) {
            retries.follow(Policy::Saturated);
        } else if failed.kind == Kind::ReadOnly && before != Some(Kind::ReadOnly) {
            retries.follow(Policy::ReadOnly);
        }
        let again = match verdict(Phase::Connect, failed.kind, true) {
            Verdict::Permanent | Verdict::Ambiguous => false,
            Verdict::ReconnectOnce => retries.first_reconnect() && retries.next_attempt().await,
            Verdict::Transient | Verdict::Reconnect => retries.next_attempt().await,
        };
        if !again {
            return Err(failed.after(retries.attempt(), retries.elapsed()));
        }
        last = Some(failed);
    }
}
