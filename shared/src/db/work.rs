//! Units of work: `read` and `write`, each with one connection, one deadline and the retry table.
//!
//! Work is a closure over a [`Session`], run again when the table says so; it must not keep anything from an attempt
//! that failed. A read is one statement in autocommit. A write is an explicit transaction with a receipt, and its COMMIT
//! is resolved when the reply is lost. What a closure refuses is final and rolled back.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _};
use tokio::time::{sleep, timeout};

use super::classify::{Verdict, kind_of, verdict};
use super::connect::Purpose;
use super::deadline::Deadline;
use super::error::{Error, Kind, Phase, Stop};
use super::pool::{Pool, PooledConnection};
use super::receipt::{self, Claim, Found};
use super::retry::{Policy, RetryLoop};
use super::session::Session;

/// `statement_timeout` ends this long before our own wait does, so that the server's answer is still heard.
const STATEMENT_TIMEOUT_MARGIN: Duration = Duration::from_millis(50);

/// How long after its `statement_timeout` a server that says nothing is given up.
const UNRESPONSIVE_SERVER_GRACE: Duration = Duration::from_millis(500);

/// Between two looks at a transaction that is still in progress.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a write came to.
#[derive(Debug)]
pub enum Written<T> {
    /// Applied now, exactly once.
    Done(T),
    /// Applied before, under the same key: the bytes saved then.
    Replayed(Vec<u8>),
    /// Another request under the same key is being worked on.
    Running,
    /// The key was used for another request.
    Reused,
}

/// How one attempt at a write ended.
pub(super) enum Attempt<T, R> {
    /// An answer is had; `clean` says whether the connection may be kept.
    Ended {
        answer: Result<Written<T>, R>,
        clean: bool,
    },
    Failed(Error),
    /// COMMIT was sent and its reply was not had.
    Unknown(T, String, Error),
}

/// What became of a transaction whose reply to COMMIT was lost.
pub(super) enum Resolved {
    Committed,
    Absent,
    Unknown(Error),
}

impl Pool {
    /// Runs a read: `work` is one statement, which may run again, and on a standby.
    ///
    /// One round trip on a warm connection. Behind a pooler, or with less time left than the session's statement
    /// timeout, it runs in an explicit transaction that carries its own limit: three.
    ///
    /// # Errors
    /// What `work` refused, or the last database error once attempts or time are spent.
    pub async fn read<T, R, W>(&self, deadline: Deadline, work: W) -> Result<T, R>
    where
        W: AsyncFn(&mut Session) -> Result<T, Stop<R>>,
        R: From<Error>,
    {
        let mut effort = RetryLoop::new(Policy::Read, &self.retry, deadline);
        loop {
            let mut lease = self.checkout(Purpose::Read, deadline).await?;
            let explicit = self.target.pooled || deadline.left() < self.target.statement_timeout;
            let settings = explicit.then(|| self.settings(deadline));
            let session = &mut lease.live.session;
            let failed = match bounded(self.client_timeout(deadline), once(session, settings, &work)).await {
                Ok(value) => {
                    lease.release().await;
                    return Ok(value);
                }
                Err(Stop::Refused(refusal)) => {
                    // In autocommit the statement is over; in a transaction it was rolled back by `once`.
                    lease.release().await;
                    return Err(refusal);
                }
                Err(Stop::Failed(cause)) => self.failed(Phase::Statement, cause),
            };
            self.again(failed, lease, explicit, &mut effort).await?;
        }
    }

    /// Runs a write in a transaction, exactly once, and saves `save`'s bytes under the claim for a replay;
    /// `save` may still refuse.
    ///
    /// Three round trips on a warm connection when `work` is one statement.
    ///
    /// # Errors
    /// What `work` refused (rolled back), or the last database error. [`Kind::CommitUnknown`] only when no connection
    /// could be had to find out before the deadline, or none can be had at all (a refused credential).
    pub async fn write<T, R, W>(
        &self,
        deadline: Deadline,
        claim: &Claim,
        work: W,
        save: impl Fn(&T) -> Result<Vec<u8>, R>,
    ) -> Result<Written<T>, R>
    where
        W: AsyncFn(&mut Session) -> Result<T, Stop<R>>,
        R: From<Error>,
    {
        let mut effort = RetryLoop::new(Policy::Write, &self.retry, deadline);
        loop {
            let mut lease = self.checkout(Purpose::Write, deadline).await?;
            let first = effort.attempt() == 1;
            let failed = match self.attempt(&mut lease, claim, deadline, first, &work, &save).await {
                Attempt::Ended { answer, clean } => {
                    if clean {
                        lease.release().await;
                    }
                    return answer;
                }
                Attempt::Failed(failed) => failed,
                Attempt::Unknown(value, xid, lost) => {
                    drop(lease);
                    tracing::warn!(error = %lost, xid, "the reply to COMMIT was lost: finding out");
                    match self.resolve(claim, &xid, deadline).await {
                        Resolved::Committed => return Ok(Written::Done(value)),
                        Resolved::Absent if effort.next_attempt().await => continue,
                        Resolved::Absent => return Err(spent(lost, &effort).into()),
                        Resolved::Unknown(cause) => {
                            let unknown = Error {
                                kind: Kind::CommitUnknown,
                                phase: Phase::Commit,
                                ..spent(cause, &effort)
                            };
                            return Err(unknown.into());
                        }
                    }
                }
            };
            self.again(failed, lease, true, &mut effort).await?;
        }
    }

    async fn attempt<T, R, W>(
        &self,
        lease: &mut PooledConnection,
        claim: &Claim,
        deadline: Deadline,
        first: bool,
        work: &W,
        save: &impl Fn(&T) -> Result<Vec<u8>, R>,
    ) -> Attempt<T, R>
    where
        W: AsyncFn(&mut Session) -> Result<T, Stop<R>>,
    {
        let session = &mut lease.live.session;
        let settings = self.settings(deadline);
        let begun = bounded::<_, R>(self.client_timeout(deadline), async {
            Ok(claim.begin(session, &settings, first).await?)
        })
        .await;
        let (xid, found) = match begun {
            Ok(begun) => begun,
            Err(Stop::Refused(refusal)) => {
                return Attempt::Ended {
                    answer: Err(refusal),
                    clean: false,
                };
            }
            Err(Stop::Failed(cause)) => return Attempt::Failed(self.failed(Phase::Statement, cause)),
        };
        let answer = match found {
            Found::Nothing => match bounded(self.client_timeout(deadline), work(session)).await {
                Ok(value) => match save(&value) {
                    Ok(saved) => return self.commit(session, claim, deadline, value, xid, &saved).await,
                    Err(refusal) => Err(refusal),
                },
                Err(Stop::Refused(refusal)) => Err(refusal),
                Err(Stop::Failed(cause)) => return Attempt::Failed(self.failed(Phase::Statement, cause)),
            },
            Found::Saved(saved) => Ok(Written::Replayed(saved)),
            Found::Other => Ok(Written::Reused),
            Found::Running => Ok(Written::Running),
        };
        // The answer stands whatever becomes of the connection.
        let clean = bounded::<_, R>(deadline, rollback(session)).await.is_ok();
        Attempt::Ended { answer, clean }
    }

    /// Ends an attempt whose work is done.
    pub(super) async fn commit<T, R>(
        &self,
        session: &mut Session,
        claim: &Claim,
        deadline: Deadline,
        value: T,
        xid: String,
        saved: &[u8],
    ) -> Attempt<T, R> {
        // Half of what is left, so that the other half can find out what a lost reply meant.
        let client_timeout = deadline.within(deadline.left() / 2);
        let commit = async { Ok(claim.commit(session, saved).await?) };
        let failed = match bounded::<_, Infallible>(client_timeout, commit).await {
            Ok(()) => {
                return Attempt::Ended {
                    answer: Ok(Written::Done(value)),
                    clean: true,
                };
            }
            Err(Stop::Refused(never)) => match never {},
            Err(Stop::Failed(cause)) => self.failed(Phase::Commit, cause),
        };
        match verdict(Phase::Commit, failed.kind, true) {
            Verdict::Ambiguous => Attempt::Unknown(value, xid, failed),
            Verdict::Transient | Verdict::Reconnect | Verdict::ReconnectOnce | Verdict::Permanent => {
                Attempt::Failed(failed)
            }
        }
    }

    /// Finds out what a transaction came to whose reply to COMMIT was lost. A database that cannot be asked is waited
    /// for until the deadline, longer than checkout waits for it, unless waiting is in vain.
    pub(super) async fn resolve(&self, claim: &Claim, xid: &str, deadline: Deadline) -> Resolved {
        let mut effort = RetryLoop::new(Policy::Connect, &self.retry, deadline);
        loop {
            let mut lease = match self.checkout(Purpose::Write, deadline).await {
                Ok(lease) => lease,
                Err(error) => {
                    let passes = match verdict(Phase::Connect, error.kind, true) {
                        Verdict::Transient | Verdict::Reconnect => true,
                        Verdict::ReconnectOnce | Verdict::Permanent | Verdict::Ambiguous => false,
                    };
                    if passes && effort.next_attempt().await {
                        continue;
                    }
                    return Resolved::Unknown(error);
                }
            };
            let (session, settings) = (&mut lease.live.session, self.settings(deadline));
            let looked = bounded::<_, Infallible>(deadline, async {
                // In this order: once it is over, a snapshot taken later sees all it did.
                let running = receipt::in_progress(session, xid).await?;
                Ok((running, claim.is_kept(session, &settings).await?))
            })
            .await;
            match looked {
                Ok((_, true)) => {
                    lease.release().await;
                    return Resolved::Committed;
                }
                Ok((false, false)) => {
                    lease.release().await;
                    return Resolved::Absent;
                }
                Ok((true, false)) => lease.release().await,
                Err(Stop::Refused(never)) => match never {},
                Err(Stop::Failed(cause)) => tracing::debug!(error = %cause, "lost again while finding out"),
            }
            if deadline.left() <= LOOK_AGAIN {
                return Resolved::Unknown(Error::bare(Kind::Timeout, Phase::Commit).trying(&self.target.name));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Deals with a failed attempt's connection and waits for the next attempt, or gives the error that ends it all.
    async fn again(
        &self,
        failed: Error,
        mut lease: PooledConnection,
        explicit: bool,
        effort: &mut RetryLoop,
    ) -> Result<(), Error> {
        let verdict = verdict(failed.phase, failed.kind, true);
        let answered = failed.sqlstate.is_some() && failed.kind != Kind::Lost && failed.kind != Kind::Timeout;
        match verdict {
            // The server answered: the connection is in step, and worth keeping once the transaction is ended.
            Verdict::Transient | Verdict::Permanent if answered => {
                let session = &mut lease.live.session;
                let ended = async { if explicit { rollback(session).await } else { Ok(()) } };
                let second = effort.deadline().within(Duration::from_secs(1));
                if bounded::<_, Infallible>(second, ended).await.is_ok() {
                    lease.release().await;
                }
            }
            Verdict::Transient
            | Verdict::Permanent
            | Verdict::Reconnect
            | Verdict::ReconnectOnce
            | Verdict::Ambiguous => drop(lease),
        }
        let retry = match verdict {
            Verdict::Permanent | Verdict::Ambiguous => false,
            Verdict::ReconnectOnce => effort.first_reconnect() && effort.next_attempt().await,
            Verdict::Transient | Verdict::Reconnect => effort.next_attempt().await,
        };
        if retry {
            tracing::info!(error = %failed, attempt = effort.attempt(), "trying again");
            return Ok(());
        }
        Err(spent(failed, effort))
    }

    /// How long one statement is waited for: a little longer than the server lets it run, for a server that is past
    /// ending anything.
    pub(super) fn client_timeout(&self, deadline: Deadline) -> Deadline {
        deadline.within(self.target.statement_timeout + UNRESPONSIVE_SERVER_GRACE)
    }

    /// The settings of an explicit transaction, as SQL.
    pub(super) fn settings(&self, deadline: Deadline) -> String {
        let limit = deadline
            .left()
            .saturating_sub(STATEMENT_TIMEOUT_MARGIN)
            .min(self.target.statement_timeout);
        // Zero would mean no limit.
        let limit = limit.as_millis().max(1);
        format!("{}SET LOCAL statement_timeout = {limit};", self.target.local_settings)
    }

    fn failed(&self, phase: Phase, cause: sqlx::Error) -> Error {
        Error::new(kind_of(&cause), phase, cause).trying(&self.target.name)
    }
}

/// One attempt at a read.
async fn once<T, R, W>(session: &mut Session, settings: Option<String>, work: &W) -> Result<T, Stop<R>>
where
    W: AsyncFn(&mut Session) -> Result<T, Stop<R>>,
{
    let Some(settings) = settings else {
        return work(session).await;
    };
    let begin = format!("BEGIN READ ONLY;{settings}");
    session.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await?;
    let outcome = work(session).await;
    if !matches!(outcome, Err(Stop::Failed(_))) {
        rollback(session).await?;
    }
    outcome
}

async fn rollback<R>(session: &mut Session) -> Result<(), Stop<R>> {
    session.execute(sqlx::raw_sql("ROLLBACK")).await?;
    Ok(())
}

/// Bounds a wait by the deadline; a wait that ends there is a timed-out socket, and its connection must be dropped.
async fn bounded<T, R>(deadline: Deadline, work: impl Future<Output = Result<T, Stop<R>>>) -> Result<T, Stop<R>> {
    timeout(deadline.left(), work).await.unwrap_or_else(|_| {
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within the time left");
        Err(Stop::Failed(sqlx::Error::Io(late)))
    })
}

fn spent(error: Error, effort: &RetryLoop) -> Error {
    error.after(effort.attempt(), effort.elapsed())
}
