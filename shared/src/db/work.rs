//! Units of work: `read`, `write` and `transact`, each with one connection, one deadline and the retry table.
//!
//! Work is a closure over a [`Session`], run again when the table says so; it must not keep anything from an attempt
//! that failed. A read is one statement. A write is one statement that inserts its own receipt, so that it can be sent
//! again when the reply is lost (see [`receipt`](super::receipt)); `transact` is for a write of several statements.
//!
//! Invariants: a request is refused only when nothing of it can still be applied. Every wait ends before the deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _};
use tokio::time::timeout;

use super::classify::{Verdict, kind_of, verdict};
use super::connect::Purpose;
use super::deadline::Deadline;
use super::error::{Abort, Error, Kind, Phase};
use super::pool::{Pool, PooledConnection};
use super::receipt::{self, Change, IdempotencyKey, Known, Receipt, WriteAttempt};
use super::retry::{Policy, RetryLoop};
use super::session::Session;

/// The server's statement timeout precedes the client's by this, so that the server's error arrives first.
const STATEMENT_TIMEOUT_MARGIN: Duration = Duration::from_millis(50);

/// How long after its `statement_timeout` a server that does not reply is given up.
const UNRESPONSIVE_SERVER_GRACE: Duration = Duration::from_millis(500);

/// Time kept back from sending a write, in which a tombstone can be put under its key: at least this, and four connects.
const SETTLE_MARGIN: Duration = Duration::from_millis(300);

/// One write in so many is followed by a sweep of expired receipts.
const SWEEP_EVERY: u32 = 50;

/// How long a sweep or a rollback may take; the answer does not depend on it.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// The primary key of the receipts: violated by a statement whose key another statement has used.
const RECEIPT_KEY: &str = "receipts_pkey";

/// How a write ended.
#[derive(Debug)]
pub enum Written<T, R> {
    /// Applied by this request, exactly once.
    Done(T),
    /// Applied by an earlier request under the same key: what the resource is now, or why the caller may not see it.
    Replayed(Receipt, Result<T, R>),
    /// The key was used for another request.
    KeyReused,
}

/// How one attempt at a write ended.
enum Attempt<T, R> {
    Finished(Result<Written<T, R>, R>),
    /// Not applied by a statement that was answered: final, unless an earlier one may still arrive.
    Rejected(R),
    /// The statement was not let in, and may be sent again with this nonce.
    Nonce(Option<uuid::Uuid>),
    Failed(Error),
}

/// What the write protocol sends: the work of a write, once.
trait Work<I, T, R> {
    async fn once(
        &self,
        pool: &Pool,
        session: &mut Session,
        deadline: Deadline,
        key: &IdempotencyKey,
        attempt: &WriteAttempt,
        input: &I,
    ) -> Result<T, Abort<R>>;
}

struct OneStatement<W>(W);

impl<I, T, R, W> Work<I, T, R> for OneStatement<W>
where
    W: AsyncFn(&mut Session, &WriteAttempt, &I) -> Result<T, Abort<R>>,
{
    async fn once(
        &self,
        pool: &Pool,
        session: &mut Session,
        deadline: Deadline,
        _: &IdempotencyKey,
        attempt: &WriteAttempt,
        input: &I,
    ) -> Result<T, Abort<R>> {
        if !pool.needs_transaction() {
            return self.0(session, attempt, input).await;
        }
        begin(session, pool.begin_sql("", deadline)).await?;
        let outcome = self.0(session, attempt, input).await;
        finish(session, "COMMIT", outcome).await
    }
}

struct SeveralStatements<W>(W);

impl<W> SeveralStatements<W> {
    async fn within<I, T, R>(
        &self,
        session: &mut Session,
        key: &IdempotencyKey,
        attempt: &WriteAttempt,
        input: &I,
    ) -> Result<T, Abort<R>>
    where
        W: AsyncFn(&mut Session, &I) -> Result<(T, Option<Change>), Abort<R>>,
    {
        match key.look(session, "").await? {
            Known::Tombstone(nonce) if nonce == attempt.nonce => {}
            known => return Err(known.into()),
        }
        let (value, change) = self.0(session, input).await?;
        key.commit(session, attempt.nonce, change.as_ref()).await?;
        Ok(value)
    }
}

impl<I, T, R, W> Work<I, T, R> for SeveralStatements<W>
where
    W: AsyncFn(&mut Session, &I) -> Result<(T, Option<Change>), Abort<R>>,
{
    async fn once(
        &self,
        pool: &Pool,
        session: &mut Session,
        deadline: Deadline,
        key: &IdempotencyKey,
        attempt: &WriteAttempt,
        input: &I,
    ) -> Result<T, Abort<R>> {
        begin(session, pool.begin_sql("", deadline)).await?;
        let outcome = self.within(session, key, attempt, input).await;
        if outcome.is_ok() {
            session.in_transaction = false;
            return outcome;
        }
        finish(session, "ROLLBACK", outcome).await
    }
}

impl Pool {
    /// Runs a read: `work` is one statement, which may run again, and on a standby.
    ///
    /// One round trip on a connection that has run the statement before. Behind a pooler without named statements it runs
    /// in an explicit transaction: four.
    ///
    /// # Errors
    /// The rejection of `work`, or the last database error once attempts or time are spent.
    pub async fn read<T, R, W>(&self, deadline: Deadline, work: W) -> Result<T, R>
    where
        W: AsyncFn(&mut Session) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        let mut retries = RetryLoop::new(Policy::Read, &self.retry, deadline);
        loop {
            let mut connection = self.checkout(Purpose::Read, deadline).await?;
            let session = &mut connection.live.session;
            let attempt = bounded(self.client_timeout(deadline), self.read_once(session, deadline, &work));
            let failed = match attempt.await {
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

    /// Runs `work` once on a connection at hand, whatever comes of it: the server prepares and plans its statement. Without
    /// named statements there is nothing to gain, and nothing is run.
    pub async fn rehearse<T, R, W>(&self, deadline: Deadline, work: W)
    where
        W: AsyncFn(&mut Session) -> Result<T, Abort<R>>,
    {
        let Some(mut connection) = self.rehearsing(deadline).await else {
            return;
        };
        let outcome = bounded(self.client_timeout(deadline), work(&mut connection.live.session)).await;
        self.rehearsed(connection, outcome.err()).await;
    }

    async fn rehearsing(&self, deadline: Deadline) -> Option<PooledConnection> {
        if self.needs_transaction() {
            return None;
        }
        self.checkout(Purpose::Read, deadline).await.ok()
    }

    async fn rehearsed<R>(&self, connection: PooledConnection, abort: Option<Abort<R>>) {
        match abort {
            None | Some(Abort::Rejected(_) | Abort::Known(_)) => connection.release().await,
            Some(Abort::Database(cause)) => dispose(self, connection, &self.failed(Phase::Statement, cause)).await,
        }
    }

    /// Runs a write's `work` as [`rehearse`](Self::rehearse) does: its statement is not let in, and changes nothing.
    pub async fn rehearse_write<I, T, R, W>(&self, deadline: Deadline, input: &I, work: W)
    where
        W: AsyncFn(&mut Session, &WriteAttempt, &I) -> Result<T, Abort<R>>,
    {
        let attempt = WriteAttempt::rehearsal();
        let Some(mut connection) = self.rehearsing(deadline).await else {
            return;
        };
        let outcome = bounded(
            self.client_timeout(deadline),
            work(&mut connection.live.session, &attempt, input),
        )
        .await;
        self.rehearsed(connection, outcome.err()).await;
    }

    /// Runs a write, exactly once: `work` is one statement, made by [`write_query!`](crate::write_query). When `key` was
    /// answered before, `replay` reads what the caller may see of it now.
    ///
    /// One round trip on a connection that has run the statement before; a rejection under a client's key takes two, a
    /// replay two or three, a lost reply one more.
    ///
    /// # Errors
    /// The rejection of `work`, or the last database error: nothing was applied then, and nothing will be. Only
    /// [`Kind::CommitUnknown`] means that no connection could be opened to make sure of it.
    ///
    /// # Cancel safety
    /// Dropped, the future leaves the write applied or not; the same key tells.
    pub async fn write<I, T, R, W, P>(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
        input: &I,
        work: W,
        replay: P,
    ) -> Result<Written<T, R>, R>
    where
        W: AsyncFn(&mut Session, &WriteAttempt, &I) -> Result<T, Abort<R>>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        self.apply(deadline, key, input, OneStatement(work), replay).await
    }

    /// Runs a write of several statements in an explicit transaction, exactly once: for work that locks rows and then
    /// needs a later snapshot. `work` returns the change for the receipt; `None` if it changed nothing.
    ///
    /// Two round trips more than [`write`](Self::write): BEGIN with the look for the key, and the receipt with COMMIT.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn transact<I, T, R, W, P>(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
        input: &I,
        work: W,
        replay: P,
    ) -> Result<Written<T, R>, R>
    where
        W: AsyncFn(&mut Session, &I) -> Result<(T, Option<Change>), Abort<R>>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        self.apply(deadline, key, input, SeveralStatements(work), replay).await
    }

    /// One attempt at a read.
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

    /// The write protocol: sends `work` until it is answered, and makes sure before it gives up.
    async fn apply<I, T, R, W, P>(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
        input: &I,
        work: W,
        replay: P,
    ) -> Result<Written<T, R>, R>
    where
        W: Work<I, T, R>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        let margin = SETTLE_MARGIN.max(self.connect_time() * 4).min(deadline.left() / 2);
        let sending = deadline.within(deadline.left().saturating_sub(margin));
        let mut retries = RetryLoop::new(Policy::Write, &self.retry, sending);
        let mut reconnects = RetryLoop::new(Policy::Connect, &self.retry, sending);
        let mut nonce = None;
        // Whether a statement was sent whose reply is missing.
        let mut unresolved = false;
        let failure: R = loop {
            let mut connection = match self.checkout(Purpose::Write, sending).await {
                Ok(connection) => connection,
                // An outage longer than `pool_timeout` is waited out, because the answer depends on it.
                Err(error) if unresolved && passes(&error) && reconnects.next_attempt().await => continue,
                Err(error) => break error.into(),
            };
            let attempt = key.attempt(nonce);
            let again = match self
                .attempt(
                    &mut connection,
                    sending,
                    key,
                    attempt,
                    unresolved,
                    &work,
                    (input, &replay),
                )
                .await
            {
                Attempt::Finished(answer) => {
                    if matches!(answer, Ok(Written::Done(_))) {
                        self.sweep_sometimes(&mut connection, deadline).await;
                    }
                    connection.release().await;
                    return answer;
                }
                Attempt::Rejected(rejection) => {
                    connection.release().await;
                    break rejection;
                }
                Attempt::Nonce(other) => {
                    nonce = other;
                    connection.release().await;
                    let late = Error::bare(Kind::Timeout, Phase::Statement).trying(&self.target.name);
                    if retries.next_attempt().await {
                        Ok(())
                    } else {
                        Err(spent(late, &retries))
                    }
                }
                Attempt::Failed(failed) => {
                    unresolved |= !answered(&failed);
                    self.next_attempt(failed, connection, &mut retries).await
                }
            };
            if let Err(error) = again {
                break error.into();
            }
        };
        if !unresolved {
            return Err(failure);
        }
        self.settle(deadline, key, failure, (input, &replay)).await
    }

    /// Sends a write once.
    async fn attempt<I, T, R>(
        &self,
        connection: &mut PooledConnection,
        deadline: Deadline,
        key: &IdempotencyKey,
        attempt: WriteAttempt,
        unresolved: bool,
        work: &impl Work<I, T, R>,
        replay: (&I, &impl AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>),
    ) -> Attempt<T, R> {
        let session = &mut connection.live.session;
        let settings = self.message_settings(deadline);
        let rejection = match bounded(
            self.client_timeout(deadline),
            work.once(self, session, deadline, key, &attempt, replay.0),
        )
        .await
        {
            Ok(value) => return Attempt::Finished(Ok(Written::Done(value))),
            Err(Abort::Known(Known::Tombstone(nonce))) => return Attempt::Nonce(nonce),
            Err(Abort::Known(Known::Receipt(_))) => None,
            // The tombstone that comes next looks as well.
            Err(Abort::Rejected(rejection)) if unresolved || !key.from_client => return Attempt::Rejected(rejection),
            Err(Abort::Rejected(rejection)) => Some(Attempt::Rejected(rejection)),
            Err(Abort::Database(cause)) => {
                let failed = self.failed(Phase::Statement, cause);
                if failed.sqlstate.as_deref() != Some("23505") {
                    return Attempt::Failed(failed);
                }
                // Two requests under one key, or a statement of this request that was not answered, and was committed.
                (failed.constraint.as_deref() != Some(RECEIPT_KEY)).then_some(Attempt::Failed(failed))
            }
        };
        let looked = bounded(self.client_timeout(deadline), async {
            Ok(key.look(session, &settings).await?)
        })
        .await;
        let receipt = match looked {
            Ok(Known::Receipt(Some(receipt))) => receipt,
            Ok(Known::Receipt(None)) => return Attempt::Nonce(attempt.nonce),
            Ok(Known::Tombstone(nonce)) => return rejection.unwrap_or(Attempt::Nonce(nonce)),
            Err(Abort::Known(_)) => return Attempt::Nonce(attempt.nonce),
            Err(Abort::Rejected(rejection)) => return Attempt::Rejected(rejection),
            Err(Abort::Database(cause)) => return Attempt::Failed(self.failed(Phase::Statement, cause)),
        };
        match self.replayed(session, deadline, key, receipt, replay).await {
            // The receipt is that of a statement of this very request whose reply was lost.
            Ok(Written::Replayed(_, Ok(value))) if unresolved => Attempt::Finished(Ok(Written::Done(value))),
            Ok(answer) => Attempt::Finished(Ok(answer)),
            Err(failed) => Attempt::Failed(failed),
        }
    }

    /// Reads what a receipt stands for, under the caller's permission as it is now.
    async fn replayed<I, T, R>(
        &self,
        session: &mut Session,
        deadline: Deadline,
        key: &IdempotencyKey,
        receipt: Receipt,
        replay: (&I, &impl AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>),
    ) -> Result<Written<T, R>, Error> {
        if !key.matches(&receipt) {
            return Ok(Written::KeyReused);
        }
        let read = self.replay_once(session, deadline, &receipt, replay);
        match bounded(self.client_timeout(deadline), read).await {
            Ok(value) => Ok(Written::Replayed(receipt, Ok(value))),
            Err(Abort::Rejected(rejection)) => Ok(Written::Replayed(receipt, Err(rejection))),
            Err(Abort::Known(_)) => Err(Error::bare(Kind::Query, Phase::Statement)),
            Err(Abort::Database(cause)) => Err(self.failed(Phase::Statement, cause)),
        }
    }

    /// One attempt at reading what a receipt stands for.
    async fn replay_once<I, T, R>(
        &self,
        session: &mut Session,
        deadline: Deadline,
        receipt: &Receipt,
        replay: (&I, &impl AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>),
    ) -> Result<T, Abort<R>> {
        if !self.needs_transaction() {
            return replay.1(session, receipt, replay.0).await;
        }
        begin(session, self.begin_sql("READ ONLY", deadline)).await?;
        let outcome = replay.1(session, receipt, replay.0).await;
        finish(session, "ROLLBACK", outcome).await
    }

    /// Ends a write that is about to be refused while one of its statements may still arrive: puts a tombstone under the
    /// key. `failure` is final if that succeeds.
    async fn settle<I, T, R: From<Error>>(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
        failure: R,
        replay: (&I, &impl AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>),
    ) -> Result<Written<T, R>, R> {
        let unknown = |cause: Error| {
            let (kind, phase) = (Kind::CommitUnknown, Phase::Commit);
            R::from(Error { kind, phase, ..cause })
        };
        let (known, mut connection) = self.bury(deadline, key).await.map_err(unknown)?;
        let receipt = match known {
            Known::Receipt(Some(receipt)) => receipt,
            Known::Receipt(None) | Known::Tombstone(_) => {
                connection.release().await;
                return Err(failure);
            }
        };
        let read = self
            .replayed(&mut connection.live.session, deadline, key, receipt, replay)
            .await;
        match read.map_err(unknown)? {
            Written::Replayed(_, answer) => {
                connection.release().await;
                answer.map(Written::Done)
            }
            answer @ (Written::Done(_) | Written::KeyReused) => {
                connection.release().await;
                Ok(answer)
            }
        }
    }

    /// Puts a tombstone under the key, however often a connection is lost over it, until the deadline.
    ///
    /// # Errors
    /// The last failure: whether the write is applied is not known then.
    pub(super) async fn bury(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
    ) -> Result<(Known, PooledConnection), Error> {
        let mut retries = RetryLoop::new(Policy::Connect, &self.retry, deadline);
        loop {
            let failed = match self.checkout(Purpose::Write, deadline).await {
                Ok(mut connection) => {
                    let settings = self.message_settings(deadline);
                    let session = &mut connection.live.session;
                    match timeout(deadline.left(), key.bury(session, &settings)).await {
                        Ok(Ok(known)) => return Ok((known, connection)),
                        Ok(Err(cause)) => {
                            let failed = self.failed(Phase::Commit, cause);
                            dispose(self, connection, &failed).await;
                            failed
                        }
                        Err(_) => Error::bare(Kind::Timeout, Phase::Commit).trying(&self.target.name),
                    }
                }
                Err(error) if !passes(&error) => return Err(error),
                Err(error) => error,
            };
            if !retries.next_attempt().await {
                return Err(spent(failed, &retries));
            }
        }
    }

    async fn sweep_sometimes(&self, connection: &mut PooledConnection, deadline: Deadline) {
        if self.writes.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY != 0 {
            return;
        }
        let settings = self.message_settings(deadline);
        let session = &mut connection.live.session;
        let bound = deadline.within(CLEAN_UP_TIMEOUT).left();
        session.in_transaction = true;
        let swept = timeout(bound, receipt::sweep(session, &settings)).await;
        // A connection that was left in the middle of it is closed when it is released.
        session.in_transaction = !matches!(swept, Ok(Ok(())));
    }

    /// Deals with a failed attempt's connection and waits for the next attempt, or returns the error that ends it all.
    async fn next_attempt(
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
        Err(spent(failed, retries))
    }

    /// Whether a statement needs an explicit transaction: behind a pooler, where an unnamed statement stays on one server
    /// connection only within one, and where the schema is set by it.
    pub(super) fn needs_transaction(&self) -> bool {
        self.target.pooled
    }

    /// How long one statement is waited for: a little longer than the server lets it run.
    pub(super) fn client_timeout(&self, deadline: Deadline) -> Deadline {
        deadline.within(self.target.statement_timeout + UNRESPONSIVE_SERVER_GRACE)
    }

    /// BEGIN with the settings of an explicit transaction.
    pub(super) fn begin_sql(&self, mode: &str, deadline: Deadline) -> String {
        let limit = deadline.left().saturating_sub(STATEMENT_TIMEOUT_MARGIN);
        // Zero would mean no limit.
        let limit = limit.min(self.target.statement_timeout).as_millis().max(1);
        let settings = &self.target.local_settings;
        format!("BEGIN {mode};{settings}SET LOCAL statement_timeout = {limit};")
    }

    /// The settings of a message of several statements, which is a transaction of its own: behind a pooler only, where
    /// the session has none.
    fn message_settings(&self, deadline: Deadline) -> String {
        if !self.target.pooled {
            return String::new();
        }
        let begin = self.begin_sql("", deadline);
        begin.strip_prefix("BEGIN ;").unwrap_or_default().to_owned()
    }

    pub(super) fn failed(&self, phase: Phase, cause: sqlx::Error) -> Error {
        Error::new(kind_of(&cause), phase, cause).trying(&self.target.name)
    }
}

/// Begins an explicit transaction. Until [`finish`] has ended it, the connection cannot go back to the pool.
async fn begin(session: &mut Session, sql: String) -> Result<(), sqlx::Error> {
    session.in_transaction = true;
    session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
}

/// Ends an explicit transaction: with `end` if its work succeeded, with ROLLBACK if the server or the work rejected
/// something. A lost connection ends it by itself.
async fn finish<T, R>(session: &mut Session, end: &'static str, outcome: Result<T, Abort<R>>) -> Result<T, Abort<R>> {
    match &outcome {
        // A COMMIT takes the time it takes.
        Ok(_) => {
            session.execute(sqlx::raw_sql(end)).await?;
            session.in_transaction = false;
        }
        Err(Abort::Database(cause)) if cause.as_database_error().is_none() => {}
        // The outcome stands whatever becomes of the ROLLBACK.
        Err(Abort::Database(_) | Abort::Rejected(_) | Abort::Known(_)) => {
            let rolled_back = timeout(CLEAN_UP_TIMEOUT, session.execute(sqlx::raw_sql("ROLLBACK"))).await;
            session.in_transaction = !matches!(rolled_back, Ok(Ok(_)));
        }
    }
    outcome
}

/// Keeps the connection of a failed attempt if the server replied and the connection is not the cause.
async fn dispose(pool: &Pool, connection: PooledConnection, failed: &Error) {
    match verdict(failed.phase, failed.kind, true) {
        Verdict::Transient | Verdict::Permanent if answered(failed) => connection.release().await,
        Verdict::Transient | Verdict::Permanent | Verdict::Reconnect | Verdict::ReconnectOnce | Verdict::Ambiguous => {
            pool.connection_lost(connection)
        }
    }
}

/// Whether the server replied to a statement, with an error: then the statement is not applied, and will not be. A
/// session that is ended may have been ended while its commit waited for a standby.
pub(super) fn answered(failed: &Error) -> bool {
    failed.sqlstate.is_some() && failed.kind != Kind::Lost
}

/// Whether a failure to get a connection may pass by itself.
fn passes(error: &Error) -> bool {
    match verdict(Phase::Connect, error.kind, true) {
        Verdict::Transient | Verdict::Reconnect => true,
        Verdict::ReconnectOnce | Verdict::Permanent | Verdict::Ambiguous => false,
    }
}

/// Bounds a wait by the deadline. A wait that ends there is a timed-out socket, and its connection must be dropped.
async fn bounded<T, R>(deadline: Deadline, work: impl Future<Output = Result<T, Abort<R>>>) -> Result<T, Abort<R>> {
    timeout(deadline.left(), work)
        .await
        .unwrap_or_else(|_| Err(late().into()))
}

fn late() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "no answer within the time left",
    ))
}

fn spent(error: Error, retries: &RetryLoop) -> Error {
    error.after(retries.attempt(), retries.elapsed())
}
