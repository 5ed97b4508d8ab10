//! An open connection: its session, its socket, and the status of its server.
//!
//! Invariants: never reconnects and never retries. If a statement did not end, the owner drops or closes the connection
//! and does not use it again. Depends on: `session` for statements, `socket` for the check without a round trip.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::time::timeout;

use super::classify::kind_of;
use super::clock::Moment;
use super::deadline::Deadline;
use super::error::Error;
use super::kind::{Kind, Phase};
use super::session::Session;
use super::socket::{Peek, SocketHandle};
use super::status::{ServerStatus, SessionIdentity};
use crate::telemetry::count;

/// An open connection, with the result of the status statement.
#[derive(Debug)]
pub struct Connection {
    pub(super) session: Session,
    /// `None` behind a pooler, and if the server does not show when the session began.
    pub(super) identity: Option<SessionIdentity>,
    /// The index of its server among the URL's servers.
    pub(super) server: usize,
    /// `None` over a Unix socket.
    pub(super) socket: Option<SocketHandle>,
    pub(super) opened: Moment,
    /// When it was last used.
    pub(super) used: Moment,
    /// The age at which the pool replaces it.
    pub(super) lifetime: Duration,
    /// When a read last looked for the writer, and the delay until the next time.
    pub(super) writer_checked: Moment,
    pub(super) writer_check_after: Duration,
    /// How long the whole connect took.
    pub(super) connected_in: Duration,
    /// The failed attempts before it, until the work that it was opened for has counted them.
    pub(super) failed_connects: u32,
    /// The last round trip measured without concurrent work.
    pub(super) round_trip: Duration,
    pub(super) status: ServerStatus,
}

impl Connection {
    /// Returns the identity of the session; `None` behind a pooler, where the next transaction may run on another.
    pub fn identity(&self) -> Option<SessionIdentity> {
        self.identity
    }

    /// Returns how long the whole connect took, from the credential to the status.
    pub fn connected_in(&self) -> Duration {
        self.connected_in
    }

    /// Checks for bytes that arrived while the connection was idle, without a round trip. Always quiet over a Unix
    /// socket: there the statement itself is the check. Does not see bytes that the TLS layer has already read from the
    /// socket; those belong to answers.
    pub(super) fn peek(&self) -> Peek {
        self.socket.map_or(Peek::Quiet, SocketHandle::peek)
    }

    /// Returns whether the server answers by `deadline`. One round trip. If it returns false, the connection must be
    /// dropped.
    ///
    /// # Cancel safety
    /// After dropping the future the connection must be dropped.
    pub(super) async fn ping(&mut self, deadline: Deadline) -> bool {
        let asked = Moment::now();
        count(|counts| counts.round_trips += 1);
        let answered = timeout(deadline.left(), self.session.connection.ping()).await;
        if !matches!(answered, Ok(Ok(()))) {
            return false;
        }
        self.round_trip = asked.elapsed();
        self.used = Moment::now();
        true
    }

    /// Makes the server end the session after it was idle for `limit`. One round trip. Returns false if that failed or
    /// took longer than `deadline`; the connection must then be dropped.
    ///
    /// # Cancel safety
    /// After dropping the future the connection must be dropped.
    pub(super) async fn end_when_idle(&mut self, limit: Duration, deadline: Deadline) -> bool {
        let sql = format!("SET idle_session_timeout = {}", limit.as_millis());
        let set = self.session.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        matches!(timeout(deadline.left(), set).await, Ok(Ok(_)))
    }

    /// Runs one statement without a retry, for the health check, which needs the current state. Without named
    /// statements it runs in a transaction, because a pooler may otherwise send Bind to another server than Parse. The
    /// transaction is not read-only, because then every server would appear to reject writes.
    ///
    /// # Errors
    /// Fails in [`Phase::Statement`] with the cause, or with [`Kind::Timeout`] at `deadline`. The connection must then
    /// be closed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session in the middle of a statement: the connection must then be closed.
    pub async fn ask<T, W>(&mut self, deadline: Deadline, work: W) -> Result<T, Error>
    where
        W: AsyncFn(&mut Session) -> Result<T, sqlx::Error>,
    {
        let session = &mut self.session;
        let asked = async {
            if !session.disable_statement_cache {
                return work(session).await;
            }
            session.execute(sqlx::raw_sql("BEGIN")).await?;
            let answer = work(session).await?;
            session.execute(sqlx::raw_sql("ROLLBACK")).await?;
            Ok(answer)
        };
        answered_by(deadline, asked).await
    }

    /// Runs one statement without parameters, and returns the number that is its result. The server commits its
    /// changes, also behind a pooler.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    /// As [`ask`](Self::ask); the changes may be committed or not.
    pub(crate) async fn number(&mut self, deadline: Deadline, statement: &str) -> Result<i64, Error> {
        let session = &mut self.session;
        let asked = async {
            let sql = AssertSqlSafe(statement.to_owned());
            session.fetch_one(sqlx::raw_sql(sql)).await?.try_get(0)
        };
        answered_by(deadline, asked).await
    }

    /// Sends Terminate, so that the server frees the slot at once. Takes at most 100 ms; the connection is closed in
    /// any case.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection without Terminate.
    pub async fn close(self) {
        let _ = timeout(Duration::from_millis(100), self.session.connection.close()).await;
    }
}

/// Limits a statement to `deadline`, and classifies its failure.
async fn answered_by<T>(deadline: Deadline, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    match timeout(deadline.left(), asked).await {
        Ok(answered) => answered.map_err(|cause| Error::new(kind_of(&cause), Phase::Statement, cause)),
        Err(_) => Err(Error::bare(Kind::Timeout, Phase::Statement)),
    }
}
