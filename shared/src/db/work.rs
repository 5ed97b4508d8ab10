//! Units of work: a read here, a write in [`write`](super::write), each with one connection, one deadline and the retry
//! table.
//!
//! Work is a closure over a [`Session`], run again when the table says so; it must not keep anything from an attempt
//! that failed. A read is one statement in autocommit.
//!
//! Invariants: every wait ends before the deadline; a connection goes back to the pool only outside a transaction.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _};
use tokio::time::timeout;

use super::classify::{Verdict, kind_of_statement, verdict};
use super::connect::Purpose;
use super::connection::Connection;
use super::deadline::Deadline;
use super::error::{Abort, Error};
use super::kind::{Kind, Phase};
use super::pool::{Pool, PooledConnection};
use super::receipt::WriteAttempt;
use super::retry::{Policy, RetryLoop};
use super::session::Session;
use super::witness::Watched;
use crate::telemetry::DatabaseTime;

/// The server's statement timeout precedes the client's by this, so that the server's error arrives first.
const STATEMENT_TIMEOUT_MARGIN: Duration = Duration::from_millis(50);

/// How long after its `statement_timeout` an unresponsive server is given up.
const UNRESPONSIVE_SERVER_GRACE: Duration = Duration::from_millis(500);

/// How long a sweep or a rollback may take; the answer does not depend on it.
pub(super) const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(1);

impl Pool {
    /// Runs a read: `work` is one statement, which may run again, and on a standby.
    ///
    /// One round trip on a connection that has run the statement before. Behind a pooler without named statements it
    /// runs in an explicit transaction: four.
    ///
    /// # Errors
    /// The rejection of `work`, or the last database error once attempts or time are spent.
    ///
    /// # Cancel safety
    /// Dropping the future closes its connection and frees the slot. The server may still run the statement to its end.
    pub async fn read<T, R, W>(&self, deadline: Deadline, work: W) -> Result<T, R>
    where
        W: AsyncFn(&mut Session) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        let _time = DatabaseTime::start();
        let mut retries = RetryLoop::new(Policy::Read, &self.retry, deadline);
        let mut at_hand = None;
        loop {
            let mut connection = match at_hand.take() {
                Some(connection) => connection,
                None => self.checkout_for(Purpose::Read, deadline, &mut retries).await?,
            };
            retries.sending();
            let watch = self.watch(&connection, Purpose::Read);
            let attempt = self.read_once(&mut connection.inner.session, deadline, &work);
            let answer = match self.watched(watch, self.client_timeout(deadline), attempt).await {
                Watched::Answered(answer) => answer,
                Watched::Dead(witness) => {
                    at_hand = self.resume(connection, *witness, Purpose::Read, &mut retries).await?;
                    continue;
                }
            };
            let failed = match answer {
                Ok(value) => {
                    connection.release().await;
                    return Ok(value);
                }
                Err(Abort::Rejected(rejection)) => {
                    connection.release().await;
                    return Err(rejection);
                }
                Err(Abort::Known(_)) => {
                    Error::bare(Kind::Query, Phase::Statement).trying("a write's statement as a read")
                }
                Err(Abort::Database(cause)) => self.failed(Phase::Statement, cause),
            };
            self.next_attempt(failed, connection, &mut retries).await?;
        }
    }

    /// Runs `work` once on an available connection and ignores its result: the server prepares and plans its statement.
    /// Without named statements this has no benefit, and nothing is run.
    ///
    /// # Cancel safety
    /// Dropping the future closes its connection.
    pub async fn rehearse<T, R, W>(&self, deadline: Deadline, work: W)
    where
        W: AsyncFnOnce(&mut Session) -> Result<T, Abort<R>>,
    {
        if self.needs_transaction() {
            return;
        }
        let Ok(mut connection) = self.checkout(Purpose::Read, deadline).await else {
            return;
        };
        // A session that hangs in the middle of the statement would keep its locks: the server is not told of the end
        // of a connection whose path is silent.
        let watch = self.watch(&connection, Purpose::Read);
        let statement = work(&mut connection.inner.session);
        match self.watched(watch, self.client_timeout(deadline), statement).await {
            Watched::Answered(Ok(_) | Err(Abort::Rejected(_) | Abort::Known(_))) => connection.release().await,
            Watched::Answered(Err(Abort::Database(cause))) => {
                dispose(self, connection, &self.failed(Phase::Statement, cause)).await;
            }
            Watched::Dead(witness) => {
                self.replace_dead(&mut connection, *witness);
                connection.release().await;
            }
        }
    }

    /// Runs a write's `work` as [`rehearse`](Self::rehearse) does: its statement is not let in, and changes nothing.
    ///
    /// # Cancel safety
    /// As [`rehearse`](Self::rehearse).
    pub async fn rehearse_write<I, T, R, W>(&self, deadline: Deadline, input: &I, work: W)
    where
        W: AsyncFnOnce(&mut Session, &WriteAttempt, &I) -> Result<T, Abort<R>>,
    {
        let attempt = WriteAttempt::rehearsal();
        self.rehearse(deadline, async |session: &mut Session| {
            work(session, &attempt, input).await
        })
        .await;
    }

    /// Runs the `work` of [`transact`](Self::transact) as [`rehearse`](Self::rehearse) does, without a transaction: its
    /// statements have to change nothing.
    ///
    /// # Cancel safety
    /// As [`rehearse`](Self::rehearse).
    pub async fn rehearse_transaction<I, T, R, W>(&self, deadline: Deadline, input: &I, work: W)
    where
        W: AsyncFnOnce(&mut Session, &I) -> Result<T, Abort<R>>,
    {
        self.rehearse(deadline, async |session: &mut Session| work(session, input).await)
            .await;
    }

    /// Performs one attempt at a read.
    async fn read_once<T, R, W>(&self, session: &mut Session, deadline: Deadline, work: &W) -> Result<T, Abort<R>>
    where
        W: AsyncFn(&mut Session) -> Result<T, Abort<R>>,
    {
        if !self.needs_transaction() {
            return work(session).await;
        }
        begin(session, self.begin_sql("READ ONLY", deadline)).await?;
        let outcome = work(session).await;
        finish(session, "ROLLBACK", outcome).await
    }

    /// Borrows a connection for the next attempt of a retry loop; see [`checkout`](Self::checkout). Failed connects count
    /// as attempts.
    ///
    /// # Errors
    /// As `checkout`, with the attempts and the time of the whole loop.
    pub(super) async fn checkout_for(
        &self,
        purpose: Purpose,
        deadline: Deadline,
        retries: &mut RetryLoop,
    ) -> Result<PooledConnection, Error> {
        match self.checkout(purpose, deadline).await {
            Ok(mut connection) => {
                retries.add_failed_connects(std::mem::take(&mut connection.inner.failed_connects));
                Ok(connection)
            }
            Err(error) => {
                retries.add_failed_connects(error.attempts);
                Err(retries.spent(error))
            }
        }
    }

    /// Replaces a dead connection with the witness that found it so, and has its siblings looked at.
    pub(super) fn replace_dead(&self, connection: &mut PooledConnection, witness: Connection) {
        connection.inner.session.count_prepared();
        self.connection_lost(connection.replace(witness));
    }

    /// Replaces a dead connection with a witness for the next attempt; returns `None` if the witness is not suitable.
    ///
    /// # Errors
    /// Fails with the lost connection if there is no attempt left.
    pub(super) async fn resume(
        &self,
        mut connection: PooledConnection,
        witness: Connection,
        purpose: Purpose,
        retries: &mut RetryLoop,
    ) -> Result<Option<PooledConnection>, Error> {
        self.replace_dead(&mut connection, witness);
        if !retries.next_attempt_at_once() {
            connection.release().await;
            let dead = Error::bare(Kind::Lost, Phase::Statement).trying(&self.target.name);
            return Err(retries.spent(dead));
        }
        let usable = purpose == Purpose::Read || !connection.inner.status.read_only;
        Ok(usable.then_some(connection))
    }

    /// Disposes of a failed attempt's connection and waits for the next attempt, or returns the final error.
    pub(super) async fn next_attempt(
        &self,
        failed: Error,
        connection: PooledConnection,
        retries: &mut RetryLoop,
    ) -> Result<(), Error> {
        dispose(self, connection, &failed).await;
        let retry = match verdict(failed.phase, failed.kind, true) {
            Verdict::Permanent | Verdict::Ambiguous => false,
            Verdict::ReconnectOnce => retries.first_reconnect() && retries.next_attempt().await,
            Verdict::Transient | Verdict::Reconnect => retries.next_attempt().await,
        };
        if retry {
            tracing::info!(error = %failed, attempt = retries.attempt(), "trying again");
            return Ok(());
        }
        Err(retries.spent(failed))
    }

    /// Returns whether each statement needs an explicit transaction.
    pub(super) fn needs_transaction(&self) -> bool {
        self.target.needs_transaction
    }

    /// Returns the timeout of one statement: a little later than the server's.
    pub(super) fn client_timeout(&self, deadline: Deadline) -> Deadline {
        deadline.within(self.target.statement_timeout + UNRESPONSIVE_SERVER_GRACE)
    }

    /// Returns BEGIN with the settings of an explicit transaction.
    pub(super) fn begin_sql(&self, mode: &str, deadline: Deadline) -> String {
        let limit = deadline.left().saturating_sub(STATEMENT_TIMEOUT_MARGIN);
        // Zero would mean no limit.
        let limit = limit.min(self.target.statement_timeout).as_millis().max(1);
        let settings = &self.target.local_settings;
        format!("BEGIN {mode};{settings}SET LOCAL statement_timeout = {limit};")
    }

    pub(super) fn failed(&self, phase: Phase, cause: sqlx::Error) -> Error {
        Error::new(kind_of_statement(&cause), phase, cause).trying(&self.target.name)
    }
}

/// Begins an explicit transaction. Until [`finish`] has ended it, the connection must not go back to the pool.
pub(super) async fn begin(session: &mut Session, sql: String) -> Result<(), sqlx::Error> {
    session.in_transaction = true;
    session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
}

/// Ends an explicit transaction: with `end` if its work succeeded, with ROLLBACK if the server or the work rejected
/// something. A lost connection ends it by itself.
pub(super) async fn finish<T, R>(
    session: &mut Session,
    end: &'static str,
    outcome: Result<T, Abort<R>>,
) -> Result<T, Abort<R>> {
    match &outcome {
        // A COMMIT has no limit of its own.
        Ok(_) => {
            session.execute(sqlx::raw_sql(end)).await?;
            session.in_transaction = false;
        }
        Err(Abort::Database(cause)) if cause.as_database_error().is_none() => {}
        // The result of the ROLLBACK does not change the outcome.
        Err(Abort::Database(_) | Abort::Rejected(_) | Abort::Known(_)) => {
            let rolled_back = timeout(CLEAN_UP_TIMEOUT, session.execute(sqlx::raw_sql("ROLLBACK"))).await;
            session.in_transaction = !matches!(rolled_back, Ok(Ok(_)));
        }
    }
    outcome
}

/// Keeps the connection of a failed attempt if the server replied and the connection is not the cause.
pub(super) async fn dispose(pool: &Pool, mut connection: PooledConnection, failed: &Error) {
    connection.inner.session.count_prepared();
    if failed.kind == Kind::StalePlan && pool.target.pooled {
        pool.target.stale_statements.fetch_add(1, Ordering::Relaxed);
    }
    if !answered(failed) {
        return pool.connection_lost(connection);
    }
    match verdict(failed.phase, failed.kind, true) {
        Verdict::Transient | Verdict::Permanent => connection.release().await,
        Verdict::Reconnect | Verdict::ReconnectOnce | Verdict::Ambiguous => drop(connection),
    }
}

/// Returns whether the server replied to a statement with an error: then the statement is not applied, and will not be.
/// A terminated session may have been terminated while its commit waited for a standby.
pub(super) fn answered(failed: &Error) -> bool {
    failed.sqlstate.is_some() && failed.kind != Kind::Lost
}
