//! The write protocol: a write is applied exactly once, and refused only when nothing of it can be applied any more.
//!
//! | reply to the statement | then |
//! |---|---|
//! | applied | done |
//! | a receipt is known under the key | look at it once more, so that it is on the standby too; replay it |
//! | a tombstone is known | the same statement with its nonce |
//! | a unique violation | look: a receipt is replayed; if the violated key is the receipt's, another tombstone's nonce is taken over; else the violation stands |
//! | not applied, and it may pass (a deadlock, a lock, a cancellation) | the same statement again |
//! | rejected, under a client's key | look: a receipt is replayed, else the rejection stands |
//! | no reply | unresolved: the same statement again, on another connection |
//! | rejected, or out of time or attempts, while unresolved | a tombstone first: a receipt is the answer, else the refusal |
//!
//! Invariant: a refusal is returned only if no statement of the request is unresolved, or after a tombstone was put
//! under its key. The one exception is the error for work that breaks the protocol (`Work::misuse`). Depends on:
//! `receipt` for the statements.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::classify::{Verdict, verdict};
use super::connect::Purpose;
use super::connection::Connection;
use super::deadline::Deadline;
use super::error::{Abort, Error};
use super::kind::{Kind, Phase};
use super::known::{Known, Receipt};
use super::pool::{Pool, PooledConnection};
use super::receipt::{self, Change, IdempotencyKey, WriteAttempt};
use super::retry::{Policy, RetryLoop};
use super::session::Session;
use super::witness::Watched;
use super::work::{CLEAN_UP_TIMEOUT, answered, begin, dispose, finish};
use crate::telemetry::DatabaseTime;

/// Time kept back from sending a write, in which a tombstone can be put under its key: the larger of this and four
/// connects, and at most half of the time left.
const SETTLE_MARGIN: Duration = Duration::from_millis(300);

/// One write in so many is followed by a sweep of expired receipts.
const SWEEP_EVERY: u32 = 50;

/// The primary key of the receipts: violated by a statement whose key another statement has used.
const RECEIPT_KEY: &str = "receipts_pkey";

/// How a write ended.
#[derive(Debug)]
pub enum Written<T, R> {
    /// Applied by this request, exactly once.
    Done(T),
    /// Applied by an earlier request under the same key: the resource as it is now, or why the caller may not see it.
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
    Nonce(Option<Uuid>),
    Failed(Error),
    /// The session is dead; this connection replaces it.
    Dead(Box<Connection>),
}

/// How the read of a replay ended.
enum Replay<T, R> {
    Read(Written<T, R>),
    Failed(Error),
    /// The session is dead; this connection replaces it.
    Dead(Box<Connection>),
}

/// The work of a write, sent once.
trait Work<I, T, R> {
    /// Returns the rule of the protocol that the work broke, if any; `sent` is the number of its statements. Such work
    /// loses a write or applies it twice if a reply is lost. So it fails each time, not only under a fault.
    fn misuse(
        &self,
        _pool: &Pool,
        _sent: u32,
        _attempt: &WriteAttempt,
        _answer: &Result<T, Abort<R>>,
    ) -> Option<&'static str> {
        None
    }

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
    fn misuse(
        &self,
        pool: &Pool,
        sent: u32,
        attempt: &WriteAttempt,
        answer: &Result<T, Abort<R>>,
    ) -> Option<&'static str> {
        // In a transaction they include BEGIN and COMMIT, and several statements are applied together.
        if pool.needs_transaction() {
            return None;
        }
        match sent {
            0 => None,
            1 => (answer.is_ok() && !attempt.is_checked()).then_some("a write that does not call attempt.check"),
            2.. => Some("a write that is more than one statement: use transact"),
        }
    }

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
            known @ (Known::Receipt(_) | Known::Tombstone(_)) => return Err(known.into()),
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
    /// Runs a write, exactly once: `work` is one statement, made by [`write_query!`](crate::write_query). When `key`
    /// was answered before, `replay` reads what the caller may see of it now.
    ///
    /// One round trip on a connection that has run the statement before. A rejection under a client's key takes two, a
    /// replay two or three. A lost reply adds one, and those of opening another connection.
    ///
    /// # Errors
    /// The rejection of `work`, or the last database error: nothing was applied then, and nothing will be. Only
    /// [`Kind::CommitUnknown`] means that no connection could be opened to make sure of it.
    ///
    /// If `work` sends a second statement, or returns a value without calling [`WriteAttempt::check`], each call fails
    /// with an error that names the mistake, although the statements that it sent are applied. This is not checked
    /// behind a pooler that needs a transaction for each statement (`statement_cache_size=0`, its default there, or a
    /// `schema`): the statements are applied together there.
    ///
    /// # Cancel safety
    /// Dropping the future closes its connection and leaves the write applied or not. A write under the same key then
    /// applies or replays it.
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
        let work = OneStatement(work);
        let protocol = Protocol {
            pool: self,
            deadline,
            key,
            input,
            work,
            replay,
        };
        protocol.run().await
    }

    /// Runs a write of several statements in an explicit transaction, exactly once: for work that locks rows and then
    /// needs a later snapshot. `work` returns the change for the receipt; `None` if it changed nothing.
    ///
    /// Takes three round trips besides those of the work: BEGIN, the look for the key, and the receipt with COMMIT.
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
        let work = SeveralStatements(work);
        let protocol = Protocol {
            pool: self,
            deadline,
            key,
            input,
            work,
            replay,
        };
        protocol.run().await
    }

    /// Puts a tombstone under the key, and retries until the deadline if connections are lost.
    ///
    /// # Errors
    /// Fails with the last failure: whether the write is applied is then unknown.
    pub(super) async fn bury(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
    ) -> Result<(Known, PooledConnection), Error> {
        let mut retries = RetryLoop::new(Policy::Connect, &self.retry, deadline);
        let mut at_hand = None;
        loop {
            let checked_out = match at_hand.take() {
                Some(connection) => Ok(connection),
                None => self.checkout_for(Purpose::Write, deadline, &mut retries).await,
            };
            let failed = match checked_out {
                Ok(mut connection) => {
                    retries.sending();
                    let settings = self.message_settings(deadline);
                    let watch = self.watch(&connection, Purpose::Write);
                    let session = &mut connection.inner.session;
                    let bury = async { Ok::<_, Abort<Error>>(key.bury(session, &settings).await?) };
                    match self.watched(watch, deadline, bury).await {
                        Watched::Answered(Ok(known)) => return Ok((known, connection)),
                        Watched::Answered(Err(Abort::Database(cause))) => {
                            let failed = self.failed(Phase::Commit, cause);
                            dispose(self, connection, &failed).await;
                            if verdict(failed.phase, failed.kind, true) == Verdict::Permanent {
                                return Err(failed);
                            }
                            failed
                        }
                        Watched::Answered(Err(Abort::Rejected(error))) => return Err(error),
                        Watched::Answered(Err(Abort::Known(known))) => return Ok((known, connection)),
                        Watched::Dead(witness) => {
                            at_hand = self.resume(connection, *witness, Purpose::Write, &mut retries).await?;
                            continue;
                        }
                    }
                }
                Err(error) if !passes(&error) => return Err(error),
                Err(error) => error,
            };
            if !retries.next_attempt().await {
                return Err(retries.spent(failed));
            }
        }
    }

    /// Returns the settings of a message of several statements, which is a transaction of its own: behind a pooler
    /// only, where the session has none.
    fn message_settings(&self, deadline: Deadline) -> String {
        if !self.target.pooled {
            return String::new();
        }
        let begin = self.begin_sql("", deadline);
        begin.strip_prefix("BEGIN ;").unwrap_or_default().to_owned()
    }

    async fn sweep_sometimes(&self, connection: &mut PooledConnection, deadline: Deadline) {
        if !self.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            return;
        }
        let settings = self.message_settings(deadline);
        let session = &mut connection.inner.session;
        let bound = deadline.within(CLEAN_UP_TIMEOUT).left();
        session.in_transaction = true;
        let swept = timeout(bound, receipt::sweep(session, &settings)).await;
        // A connection that was interrupted in the sweep is closed when it is released.
        session.in_transaction = !matches!(swept, Ok(Ok(())));
    }
}

/// A write in progress.
struct Protocol<'a, I, W, P> {
    pool: &'a Pool,
    deadline: Deadline,
    key: &'a IdempotencyKey,
    input: &'a I,
    work: W,
    replay: P,
}

impl<I, W, P> Protocol<'_, I, W, P> {
    /// Sends the work until it is answered, and determines the outcome before it gives up.
    async fn run<T, R>(&self) -> Result<Written<T, R>, R>
    where
        W: Work<I, T, R>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        let _time = DatabaseTime::start();
        let (pool, left) = (self.pool, self.deadline.left());
        let margin = settle_margin(left, pool.connect_time());
        let sending = self.deadline.within(left.saturating_sub(margin));
        let mut retries = RetryLoop::new(Policy::Write, &pool.retry, sending);
        let mut reconnects = RetryLoop::new(Policy::Connect, &pool.retry, sending);
        let mut attempt = self.key.attempt();
        // Whether a statement was sent whose reply is missing.
        let mut unresolved = false;
        let mut at_hand = None;
        let failure: R = loop {
            let checked_out = match at_hand.take() {
                Some(connection) => Ok(connection),
                None => pool.checkout_for(Purpose::Write, sending, &mut retries).await,
            };
            let mut connection = match checked_out {
                Ok(connection) => connection,
                // An outage longer than `pool_timeout` is waited out, because the answer depends on it.
                Err(error) if unresolved && passes(&error) && reconnects.next_attempt().await => continue,
                Err(error) => break error.into(),
            };
            if sending.is_past() {
                // A statement that is sent now would only need a tombstone.
                connection.release().await;
                let late = Error::bare(Kind::Timeout, Phase::Statement).trying(&pool.target.name);
                break retries.spent(late).into();
            }
            retries.sending();
            let again = match self.once(&mut connection, sending, &attempt, &mut unresolved).await {
                Attempt::Finished(answer) => {
                    if matches!(answer, Ok(Written::Done(_))) {
                        pool.sweep_sometimes(&mut connection, self.deadline).await;
                    }
                    connection.release().await;
                    return answer;
                }
                Attempt::Rejected(rejection) => {
                    connection.release().await;
                    break rejection;
                }
                Attempt::Nonce(other) => {
                    attempt.nonce = other;
                    connection.release().await;
                    let late = Error::bare(Kind::Timeout, Phase::Statement).trying(&pool.target.name);
                    let again = retries.next_attempt().await;
                    again.then_some(()).ok_or_else(|| retries.spent(late))
                }
                Attempt::Dead(witness) => {
                    let resumed = pool.resume(connection, *witness, Purpose::Write, &mut retries).await;
                    resumed.map(|connection| at_hand = connection)
                }
                Attempt::Failed(failed) => pool.next_attempt(failed, connection, &mut retries).await,
            };
            if let Err(error) = again {
                break error.into();
            }
        };
        if !unresolved {
            return Err(failure);
        }
        self.settle(failure, &retries).await
    }

    /// Sends the work once, and notes if its reply is missing. If a row under its key keeps it from being applied, reads
    /// that row and the resource it refers to.
    async fn once<T, R>(
        &self,
        connection: &mut PooledConnection,
        deadline: Deadline,
        attempt: &WriteAttempt,
        unresolved: &mut bool,
    ) -> Attempt<T, R>
    where
        W: Work<I, T, R>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        let (pool, key) = (self.pool, self.key);
        let client_timeout = pool.client_timeout(deadline);
        let watch = pool.watch(connection, Purpose::Write);
        let session = &mut connection.inner.session;
        let before = session.statements;
        let once = self.work.once(pool, session, deadline, key, attempt, self.input);
        let answer = match pool.watched(watch, client_timeout, once).await {
            Watched::Answered(answer) => answer,
            Watched::Dead(witness) => {
                *unresolved = true;
                return Attempt::Dead(witness);
            }
        };
        let sent = connection.inner.session.statements.wrapping_sub(before);
        if let Some(misuse) = self.work.misuse(pool, sent, attempt, &answer) {
            let misused = Error::bare(Kind::Query, Phase::Statement).trying(misuse);
            return Attempt::Finished(Err(misused.into()));
        }
        let unless_receipt = match answer {
            Ok(value) => return Attempt::Finished(Ok(Written::Done(value))),
            Err(Abort::Known(Known::Tombstone(nonce))) => return Attempt::Nonce(nonce),
            Err(Abort::Known(Known::Receipt(_))) => None,
            // The tombstone that follows looks as well.
            Err(Abort::Rejected(rejection)) if *unresolved || !key.from_client => return Attempt::Rejected(rejection),
            Err(Abort::Rejected(rejection)) => Some(Attempt::Rejected(rejection)),
            Err(Abort::Database(cause)) => {
                let failed = pool.failed(Phase::Statement, cause);
                *unresolved |= !answered(&failed);
                if failed.sqlstate.as_deref() != Some("23505") {
                    return Attempt::Failed(failed);
                }
                Some(Attempt::Failed(failed))
            }
        };
        let settings = pool.message_settings(deadline);
        let watch = pool.watch(connection, Purpose::Write);
        let session = &mut connection.inner.session;
        let look = async { Ok(key.look(session, &settings).await?) };
        let known = match pool.watched(watch, client_timeout, look).await {
            Watched::Answered(known) => known,
            Watched::Dead(witness) => return Attempt::Dead(witness),
        };
        let receipt = match known {
            Ok(Known::Receipt(Some(receipt))) => receipt,
            Ok(Known::Tombstone(nonce)) => {
                return match unless_receipt {
                    // Another request put a tombstone under the key. If nothing new is there, the statement itself
                    // violates the key: its `changed` has several rows.
                    Some(Attempt::Failed(failed))
                        if failed.constraint.as_deref() == Some(RECEIPT_KEY) && nonce != attempt.nonce =>
                    {
                        Attempt::Nonce(nonce)
                    }
                    Some(unless) => unless,
                    None => Attempt::Nonce(nonce),
                };
            }
            Ok(Known::Receipt(None)) | Err(Abort::Known(_)) => return Attempt::Nonce(attempt.nonce),
            Err(Abort::Rejected(rejection)) => return Attempt::Rejected(rejection),
            Err(Abort::Database(cause)) => return Attempt::Failed(pool.failed(Phase::Statement, cause)),
        };
        match self.replayed(connection, deadline, receipt).await {
            // The receipt is that of a statement of this very request whose reply was lost.
            Replay::Read(Written::Replayed(_, answer)) if *unresolved => Attempt::Finished(answer.map(Written::Done)),
            Replay::Read(answer) => Attempt::Finished(Ok(answer)),
            Replay::Failed(failed) => Attempt::Failed(failed),
            Replay::Dead(witness) => Attempt::Dead(witness),
        }
    }

    /// Reads the resource that a receipt refers to, under the caller's current permission.
    async fn replayed<T, R>(
        &self,
        connection: &mut PooledConnection,
        deadline: Deadline,
        receipt: Receipt,
    ) -> Replay<T, R>
    where
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
    {
        let pool = self.pool;
        if !self.key.matches(&receipt) {
            return Replay::Read(Written::KeyReused);
        }
        let watch = pool.watch(connection, Purpose::Write);
        let read = self.replay_once(&mut connection.inner.session, deadline, &receipt);
        match pool.watched(watch, pool.client_timeout(deadline), read).await {
            Watched::Answered(Ok(value)) => Replay::Read(Written::Replayed(receipt, Ok(value))),
            Watched::Answered(Err(Abort::Rejected(rejection))) => {
                Replay::Read(Written::Replayed(receipt, Err(rejection)))
            }
            Watched::Answered(Err(Abort::Known(_))) => Replay::Failed(Error::bare(Kind::Query, Phase::Statement)),
            Watched::Answered(Err(Abort::Database(cause))) => Replay::Failed(pool.failed(Phase::Statement, cause)),
            Watched::Dead(witness) => Replay::Dead(witness),
        }
    }

    async fn replay_once<T, R>(
        &self,
        session: &mut Session,
        deadline: Deadline,
        receipt: &Receipt,
    ) -> Result<T, Abort<R>>
    where
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
    {
        if !self.pool.needs_transaction() {
            return (self.replay)(session, receipt, self.input).await;
        }
        begin(session, self.pool.begin_sql("READ ONLY", deadline)).await?;
        let outcome = (self.replay)(session, receipt, self.input).await;
        finish(session, "ROLLBACK", outcome).await
    }

    /// Ends a write that is about to be refused while one of its statements may still arrive. `failure` is final once a
    /// tombstone is under the key.
    async fn settle<T, R>(&self, failure: R, retries: &RetryLoop) -> Result<Written<T, R>, R>
    where
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort<R>>,
        R: From<Error>,
    {
        let unknown = |cause: Error| {
            let (kind, phase) = (Kind::CommitUnknown, Phase::Commit);
            let settling = cause.attempts;
            let whole = retries.spent(cause);
            let attempts = whole.attempts + settling;
            R::from(Error {
                kind,
                phase,
                attempts,
                ..whole
            })
        };
        let (known, mut connection) = self.pool.bury(self.deadline, self.key).await.map_err(unknown)?;
        let receipt = match known {
            Known::Receipt(Some(receipt)) => receipt,
            Known::Receipt(None) | Known::Tombstone(_) => {
                connection.release().await;
                return Err(failure);
            }
        };
        loop {
            match self.replayed(&mut connection, self.deadline, receipt).await {
                Replay::Read(answer) => {
                    connection.release().await;
                    return match answer {
                        Written::Replayed(_, answer) => answer.map(Written::Done),
                        answer @ (Written::Done(_) | Written::KeyReused) => Ok(answer),
                    };
                }
                Replay::Failed(failed) => return Err(unknown(failed)),
                Replay::Dead(witness) => self.pool.replace_dead(&mut connection, *witness),
            }
        }
    }
}

/// Returns the part of the time left that is kept back for a tombstone, if a connect takes `connect`.
fn settle_margin(left: Duration, connect: Duration) -> Duration {
    SETTLE_MARGIN.max(connect * 4).min(left / 2)
}

/// Whether a failure to get a connection may pass by itself.
fn passes(error: &Error) -> bool {
    match verdict(Phase::Connect, error.kind, true) {
        Verdict::Transient | Verdict::Reconnect => true,
        Verdict::ReconnectOnce | Verdict::Permanent | Verdict::Ambiguous => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstone_has_time_for_four_connects() {
        let margin = |left, connect| {
            let [left, connect] = [left, connect].map(Duration::from_millis);
            settle_margin(left, connect).as_millis()
        };
        assert_eq!(margin(26_000, 10), 300);
        assert_eq!(margin(26_000, 500), 2_000);
        assert_eq!(margin(1_000, 500), 500);
    }
}
