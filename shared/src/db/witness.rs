//! The witness: a second session that tells whether a late answer will still come.
//!
//! A path can be silent and still acknowledge data (a hung proxy, a load balancer, a stopped server process), and then
//! only a statement timeout ends the wait. So when an answer is late, one more connection is opened, which looks up the
//! statement's session in `pg_stat_activity` while the statement is still awaited: the first result counts. A dead
//! session is terminated, and the statement is sent again over the witness.
//!
//! A session is dead if its server no longer has it, or if it waits for its client in two lookups, separated in time
//! and in two transactions, without having run anything in between. A session that waits for a standby or for a lock is
//! alive, and is never terminated.
//!
//! Limits for a fleet: an environment opens one witness at a time and at most one in five seconds, at increasing
//! intervals of up to a minute while answers stay late; a few more only while its sessions turn out to be dead. None in
//! a known outage, and none if the server was near its connection capacity at the last connect. If a server stalls for
//! several times its usual response time, every environment with a running statement opens one witness, distributed
//! over a quarter of a second to a second, and then less and less often.
//!
//! Depends on: tracking of activities (`track_activities`), and direct sessions. Behind a pooler, or if the state of
//! the session is not visible, statements are awaited until their timeout.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tokio::time::{sleep, timeout};

use super::circuit::Circuit;
use super::classify::kind_of_statement;
use super::clock::{Moment, jitter};
use super::connect::{self, Purpose};
use super::connection::Connection;
use super::deadline::Deadline;
use super::error::{Abort, late};
use super::kind::Kind;
use super::socket::SocketHandle;
use super::status::SessionIdentity;
use super::target::Target;
use crate::telemetry::count;

/// A connection that was idle for longer than this may have died: its first answer counts as late sooner.
const IDLE: Duration = Duration::from_millis(50);

/// Bounds on when the first answer after idling is late.
const LATE_AFTER_IDLE_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// Bounds on when any other answer is late.
const LATE_AFTER_RANGE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(800));

/// The longest random addition to it. With it, a dead session is replaced within 1.5 s.
const MOST_JITTER: Duration = Duration::from_millis(400);

/// An answer is late after this multiple of the longest recent one.
const LATE_FACTOR: u32 = 8;

/// The shortest time between two lookups of a session.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// After this many dead sessions without an answer in time, the next witness is delayed as after a living one.
const MOST_DEAD: u32 = 16;

/// The shortest and the longest interval between two witnesses of one environment.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The session of a statement, and when its answer is late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    identity: Option<SessionIdentity>,
    socket: Option<SocketHandle>,
    server: usize,
    purpose: Purpose,
    late_after: Duration,
    round_trip: Duration,
}

/// How a watched statement ended.
#[derive(Debug)]
pub(super) enum Watched<T, R> {
    Answered(Result<T, Abort<R>>),
    /// Its session is dead and will not answer. The witness replaces it.
    Dead(Box<Connection>),
}

/// When this environment may open a witness, and how long its answers have taken.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    asking: AtomicBool,
    /// When the last witness was opened, and the interval until the next.
    last: Mutex<Option<(Moment, Duration)>>,
    /// Sessions found dead since the last answer in time.
    dead: AtomicU32,
    slowest_read: AtomicU32,
    slowest_write: AtomicU32,
}

/// The permission to open a witness, returned when it is dropped.
struct Turn<'a>(&'a Witnesses);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.asking.store(false, Ordering::Release);
    }
}

impl Witnesses {
    fn slowest(&self, purpose: Purpose) -> &AtomicU32 {
        match purpose {
            Purpose::Read | Purpose::Unrepeatable => &self.slowest_read,
            Purpose::Write => &self.slowest_write,
        }
    }

    /// Records the time of an answer. A slow one is forgotten over the next few dozen.
    fn note(&self, purpose: Purpose, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let slowest = self.slowest(purpose);
        let recent = slowest.load(Ordering::Relaxed);
        slowest.store(took.max(recent - recent / 16), Ordering::Relaxed);
    }

    /// Returns the permission to open a witness, if it is time. It counts from now on, regardless of the result.
    fn turn(&self) -> Option<Turn<'_>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = match *last {
            Some((asked, interval)) if asked.elapsed() < interval => return None,
            // Within a run of late answers.
            Some((asked, interval)) if asked.elapsed() < interval + INTERVAL.1 => (interval * 2).min(INTERVAL.1),
            Some(_) | None => INTERVAL.0,
        };
        if self.asking.swap(true, Ordering::Acquire) {
            return None;
        }
        *last = Some((Moment::now(), interval));
        Some(Turn(self))
    }

    /// Records a dead session. Its siblings may be dead too, so the next witness need not be delayed, unless there were
    /// many.
    fn found_dead(&self) {
        if self.dead.fetch_add(1, Ordering::Relaxed) < MOST_DEAD {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Returns the watch of a statement on this connection: to be taken before each one.
    pub(super) fn watch(&self, connection: &Connection, purpose: Purpose) -> Watch {
        let slowest = self.slowest(purpose).load(Ordering::Relaxed);
        let usual = connection.round_trip.max(Duration::from_micros(slowest.into()));
        let idle = connection.used.elapsed() > IDLE;
        let (late_after, most_jitter) = late_after(usual, idle);
        let near_capacity = connection.status.near_capacity();
        Watch {
            identity: connection.identity.filter(|_| !near_capacity),
            socket: connection.socket,
            server: connection.server,
            purpose,
            // Environments whose statements are late at the same time do not ask at the same time.
            late_after: late_after + jitter(most_jitter),
            round_trip: connection.round_trip,
        }
    }

    /// Waits for a statement until the deadline, or until a witness finds that it will not be answered. The witness
    /// connects to `target`, unless the circuit knows of an outage.
    ///
    /// # Cancel safety
    /// Dropping it drops the statement and the witness.
    pub(super) async fn watched<T, R>(
        &self,
        watch: Watch,
        target: &Target,
        circuit: &Circuit,
        deadline: Deadline,
        statement: impl Future<Output = Result<T, Abort<R>>>,
    ) -> Watched<T, R> {
        let since = Moment::now();
        let mut statement = std::pin::pin!(statement);
        let mut late_after = watch.late_after;
        loop {
            if let Ok(answer) = timeout(late_after.min(deadline.left()), &mut statement).await {
                self.note(watch.purpose, since.elapsed());
                self.dead.store(0, Ordering::Relaxed);
                return Watched::Answered(answer);
            }
            if deadline.is_past() {
                return Watched::Answered(Err(late().into()));
            }
            // Until the next permission, if there is none now.
            late_after = watch.late_after;
            let Some(identity) = watch.identity else {
                late_after = deadline.left();
                continue;
            };
            if circuit.knows_outage() {
                continue;
            }
            let Some(turn) = self.turn() else { continue };
            let asked = std::pin::pin!(ask(target, identity, watch, deadline));
            match select(&mut statement, asked).await {
                Either::Left((answer, _)) => {
                    self.note(watch.purpose, since.elapsed());
                    // Ended by this witness, if the path was only late: the news came this way first.
                    if matches!(&answer, Err(Abort::Database(error)) if kind_of_statement(error) == Kind::Lost) {
                        self.found_dead();
                    }
                    return Watched::Answered(answer);
                }
                Either::Right((Some(witness), _)) => {
                    // A statement that takes this long counts as late later next time.
                    self.note(watch.purpose, since.elapsed());
                    self.found_dead();
                    tracing::info!(pid = identity.pid, "a session is dead: sending its statement again");
                    return Watched::Dead(Box::new(witness));
                }
                Either::Right((None, _)) => {}
            }
            drop(turn);
        }
    }
}

/// Returns after how long an answer is late if answers usually take `usual`, and the bound of the random addition.
fn late_after(usual: Duration, idle: bool) -> (Duration, Duration) {
    let (least, most) = if idle { LATE_AFTER_IDLE_RANGE } else { LATE_AFTER_RANGE };
    let late_after = (usual * LATE_FACTOR).clamp(least, most);
    let most_jitter = if idle {
        late_after / 4
    } else {
        late_after.min(MOST_JITTER)
    };
    (late_after, most_jitter)
}

/// The result of a lookup of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// The server does not have it.
    Gone,
    /// It waits for its client: the time of its last change of state.
    Waiting(String),
    Alive,
    /// Its state is not visible, or this is another server.
    Unknown,
}

impl Sight {
    fn from_row(row: &PgRow, identity: SessionIdentity) -> Result<Self, sqlx::Error> {
        if row.try_get::<i64, _>("server_start")? != identity.server_start {
            return Ok(Self::Unknown);
        }
        if row.try_get::<Option<i32>, _>("pid")?.is_none() {
            return Ok(Self::Gone);
        }
        match row.try_get::<Option<i64>, _>("backend_start")? {
            // A session of another role, as after a rotation of users.
            None => return Ok(Self::Unknown),
            Some(backend_start) if backend_start != identity.backend_start => return Ok(Self::Gone),
            Some(_) => {}
        }
        let text = |name| row.try_get::<Option<String>, _>(name).map(Option::unwrap_or_default);
        let (state, wait, since) = (text("state")?, text("wait_event")?, text("since")?);
        let waits = match state.as_str() {
            "" | "disabled" => return Ok(Self::Unknown),
            "idle" | "idle in transaction" | "idle in transaction (aborted)" => wait == "ClientRead",
            "active" => wait == "ClientRead" || wait == "ClientWrite",
            _ => false,
        };
        Ok(if waits { Self::Waiting(since) } else { Self::Alive })
    }
}

/// Opens a witness and returns it if the session is dead; the session is then terminated.
async fn ask(target: &Target, identity: SessionIdentity, watch: Watch, deadline: Deadline) -> Option<Connection> {
    // A path that carries bytes while the witness connects is not dead.
    let transferred = watch.socket.and_then(SocketHandle::transferred);
    count(|counts| counts.witnesses += 1);
    // Without a retry, and outside the circuit: it is not this request's connection yet.
    let mut witness = connect::connect_beside(target, watch.server, deadline).await.ok()?;
    let asked = timeout(deadline.left(), is_dead(&mut witness, identity, watch, transferred)).await;
    if let Ok(Ok(true)) = asked {
        return Some(witness);
    }
    witness.close().await;
    None
}

async fn is_dead(
    witness: &mut Connection,
    identity: SessionIdentity,
    watch: Watch,
    transferred: Option<u64>,
) -> Result<bool, sqlx::Error> {
    let first = look(witness, identity).await?;
    match first {
        Sight::Gone => return Ok(true),
        Sight::Alive | Sight::Unknown => return Ok(false),
        Sight::Waiting(_) => {}
    }
    sleep(LOOK_AGAIN.max(watch.round_trip * 4)).await;
    if watch.socket.and_then(SocketHandle::transferred) != transferred {
        // The server waits for the rest of a request, or for the client to read: a slow path is not a dead one.
        return Ok(false);
    }
    let second = look(witness, identity).await?;
    match &second {
        Sight::Gone => Ok(true),
        Sight::Waiting(since) if first == second => end(witness, identity, since).await,
        Sight::Waiting(_) | Sight::Alive | Sight::Unknown => Ok(false),
    }
}

/// Looks up a session, in a separate transaction: within one, the view stays as it was first read.
async fn look(witness: &mut Connection, identity: SessionIdentity) -> Result<Sight, sqlx::Error> {
    let pid = identity.pid;
    let sql = format!(
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS server_start, a.pid, \
         (extract(epoch FROM a.backend_start) * 1000000)::int8 AS backend_start, a.state, a.wait_event, \
         a.state_change::text AS since FROM (VALUES (1)) AS one LEFT JOIN pg_stat_activity a ON a.pid = {pid}"
    );
    let session = &mut witness.session;
    let row = session.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Sight::from_row(&row, identity)
}

/// Terminates a session that has been waiting for its client since then. Returns whether it did: a session that has
/// continued is not touched.
async fn end(witness: &mut Connection, identity: SessionIdentity, since: &str) -> Result<bool, sqlx::Error> {
    let SessionIdentity { pid, backend_start, .. } = identity;
    // The time is the server's own output, which has no quotes.
    let since = since.replace('\'', "");
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {pid} \
         AND (extract(epoch FROM backend_start) * 1000000)::int8 = {backend_start} \
         AND state_change::text = '{since}' AND wait_event IN ('ClientRead', 'ClientWrite')"
    );
    let session = &mut witness.session;
    let ended = session.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(ended.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_depends_on_the_usual_time() {
        let late = |usual, idle| {
            let (late, jitter) = late_after(Duration::from_millis(usual), idle);
            (late.as_millis(), jitter.as_millis())
        };
        assert_eq!(late(1, false), (250, 250));
        assert_eq!(late(60, false), (480, 400));
        assert_eq!(late(1_000, false), (800, 400));
        assert_eq!(late(1, true), (100, 25));
        assert_eq!(late(30, true), (240, 60));
        assert_eq!(late(1_000, true), (300, 75));
    }

    #[test]
    fn slow_answers_are_remembered_for_some_dozens() {
        let witnesses = Witnesses::default();
        let slowest = |purpose| witnesses.slowest(purpose).load(Ordering::Relaxed);
        witnesses.note(Purpose::Read, Duration::from_millis(100));
        witnesses.note(Purpose::Read, Duration::from_millis(1));
        assert!((90_000..100_000).contains(&slowest(Purpose::Read)));
        assert_eq!(slowest(Purpose::Write), 0);
        for _ in 0..80 {
            witnesses.note(Purpose::Read, Duration::from_millis(1));
        }
        assert_eq!(slowest(Purpose::Read), 1_000);
    }

    #[test]
    fn further_witnesses_wait_longer() {
        let witnesses = Witnesses::default();
        let interval = || witnesses.last.lock().unwrap().unwrap().1;
        let turn = witnesses.turn().expect("the first witness is allowed at once");
        assert_eq!(interval(), INTERVAL.0);
        drop(turn);
        assert!(witnesses.turn().is_none(), "the interval is not over");

        // As if it were over.
        *witnesses.last.lock().unwrap() = Some((Moment::now(), Duration::ZERO));
        let turn = witnesses.turn().expect("the interval is over");
        *witnesses.last.lock().unwrap() = Some((Moment::now(), Duration::ZERO));
        assert!(witnesses.turn().is_none(), "another one is open");
        drop(turn);
        for (before, after) in [
            (Duration::from_nanos(1), Duration::from_nanos(2)),
            (INTERVAL.1, INTERVAL.1),
        ] {
            let begun = Moment::past(before);
            *witnesses.last.lock().unwrap() = Some((begun, before));
            drop(witnesses.turn().expect("the interval is over"));
            assert_eq!(interval(), after);
        }
        *witnesses.last.lock().unwrap() = Some((Moment::past(INTERVAL.1 * 2), INTERVAL.1));
        drop(witnesses.turn().expect("the interval is over"));
        assert_eq!(interval(), INTERVAL.0, "no answer was late for long");
    }

    #[test]
    fn dead_sessions_delay_no_witness_unless_many() {
        let witnesses = Witnesses::default();
        for _ in 0..MOST_DEAD {
            drop(witnesses.turn().expect("its siblings may be dead too"));
            witnesses.found_dead();
        }
        drop(witnesses.turn().expect("the last one reset it"));
        witnesses.found_dead();
        assert!(witnesses.turn().is_none());
    }
}
