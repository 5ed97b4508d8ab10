//! The static pool: one per execution environment, reused across warm invocations.
//!
//! `deadpool` manages the slots and the queue for them. This module decides at checkout whether a slot's connection is
//! usable, because no timer runs while the environment is frozen. A connection is taken out of its slot while it is
//! borrowed: a future that is dropped, times out or fails half-way drops the connection with it, and only one that is
//! known to be clean is put back. Nothing here retries statements.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, QueueMode, RecycleError, RecycleResult};
use futures_util::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

use super::circuit::{Admission, Circuit};
use super::clock::Moment;
use super::connect::{self, Purpose, Unfinished};
use super::connection::Connection;
use super::deadline::Deadline;
use super::error::{Abort, Error};
use super::kind::{Kind, Phase};
use super::socket::Peek;
use super::target::Target;
use super::witness::{Watch, Watched, Witnesses};
use crate::config::{DatabaseConfig, LambdaEnvironment, RetryConfig};
use crate::telemetry::count;

/// A connection that was idle for longer is replaced without a check: NAT gateways and load balancers drop an idle flow
/// after 350 s.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);

/// A connection that was idle for longer is pinged before statements that must not run twice.
const PING_FREE_WINDOW: Duration = Duration::from_secs(1);

/// The timeout of a ping, which is sent only on suspicion.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a read waits for a connection to the writer while it has one to a standby: four times as long as connecting
/// to that took, within this range.
const WRITER_CHECK_TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// The longest interval between two searches for the writer: a fleet that has only a standby must not keep connecting.
const MAX_WRITER_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// On a server near its capacity, INIT's connection ends by itself if no invocation follows within this time.
const INIT_IDLE_NEAR_CAPACITY: Duration = Duration::from_secs(3);

/// The state of INIT's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is in the pool.
    Kept,
    /// The server is near its capacity: the connection serves one request if that arrives soon, or is already closed.
    ForOneUse,
}

/// This environment's connections.
#[derive(Debug)]
pub struct Pool {
    slots: managed::Pool<SlotManager>,
    pub(super) target: Target,
    pub(super) retry: RetryConfig,
    budget: Option<Duration>,
    pub(super) circuit: Circuit,
    witnesses: Witnesses,
    /// The duration of the last connect, in milliseconds.
    connect_time: AtomicU32,
    /// The number of writes, counted from a random number, so that environments do not sweep at the same time.
    pub(super) writes: AtomicU32,
    /// When a lost connection was last detected.
    lost: Mutex<Option<Moment>>,
    /// Whether INIT runs long before the first invocation.
    provisioned: bool,
    unfinished: Unfinished,
}

#[derive(Debug)]
struct SlotManager;

impl managed::Manager for SlotManager {
    /// Empty until its first use, and after its connection was dropped.
    type Type = Option<Connection>;
    type Error = Infallible;

    async fn create(&self) -> Result<Self::Type, Infallible> {
        Ok(None)
    }

    /// An empty slot is discarded while there may be one with a connection below it; a new one replaces it.
    async fn recycle(&self, slot: &mut Self::Type, _: &Metrics) -> RecycleResult<Infallible> {
        match slot {
            Some(_) => Ok(()),
            None => Err(RecycleError::message("empty")),
        }
    }
}

/// A connection borrowed by one unit of work. Dropping it closes the connection; see [`PooledConnection::release`].
#[derive(Debug)]
pub struct PooledConnection {
    slot: Object<SlotManager>,
    take_turns: bool,
    pub(super) inner: Connection,
}

impl PooledConnection {
    /// Returns a clean connection to the pool: in sync, and outside any transaction. Near the server's capacity it is
    /// closed instead, so that more environments than slots take turns; not behind a pooler, because the slots are not
    /// its own.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, unless it is in the pool already.
    pub async fn release(mut self) {
        self.inner.used = Moment::now();
        self.inner.session.count_prepared();
        if self.inner.session.in_transaction {
            return;
        }
        if self.take_turns && self.inner.status.near_capacity() {
            self.inner.close().await;
        } else {
            *self.slot = Some(self.inner);
        }
    }

    /// Closes the connection with Terminate; the slot becomes empty. Limited in time.
    pub(super) async fn close(self) {
        self.inner.close().await;
    }

    /// Replaces the dead connection with a new one, and returns the dead one.
    pub(super) fn replace(&mut self, connection: Connection) -> Connection {
        std::mem::replace(&mut self.inner, connection)
    }

    /// Keeps INIT's connection for the following invocation, even near the server's capacity.
    fn keep(mut self) {
        self.inner.used = Moment::now();
        *self.slot = Some(self.inner);
    }
}

impl Pool {
    /// Creates a pool without connections. Never fails and does no I/O.
    pub fn new(config: &DatabaseConfig, lambda: &LambdaEnvironment) -> Self {
        let size = config.url.connection_limit().unwrap_or(lambda.max_concurrency);
        let mut slots = managed::PoolConfig::new(size);
        // The connection released last is the least likely to have died.
        slots.queue_mode = QueueMode::Lifo;
        let builder = managed::Pool::builder(SlotManager).config(slots);
        // `build` fails only for timeouts without a runtime, and none are configured.
        let slots = match builder.build() {
            Ok(slots) => slots,
            Err(error) => unreachable!("a pool without timeouts needs no runtime: {error}"),
        };
        Self {
            slots,
            target: Target::new(&config.url, &lambda.application_name()),
            retry: config.retry,
            budget: config.url.pool_timeout(),
            circuit: Circuit::default(),
            witnesses: Witnesses::default(),
            connect_time: AtomicU32::default(),
            writes: AtomicU32::new(u32::from(Uuid::now_v7().as_bytes()[15])),
            lost: Mutex::default(),
            provisioned: lambda.provisioned,
            unfinished: Unfinished::default(),
        }
    }

    /// Opens the first connection during INIT. A failure counts towards the first request's budget; an unfinished
    /// log-in continues in its checkout. Near the server's capacity the connection waits only briefly for an
    /// invocation.
    ///
    /// # Errors
    /// Fails with the cause. The pool is as usable as before.
    ///
    /// # Cancel safety
    /// As [`checkout`](Self::checkout); the pool is as usable as before.
    pub async fn connect_during_init(&self, deadline: Deadline) -> Result<Opened, Error> {
        let mut connection = match self.checkout(Purpose::Read, deadline).await {
            Ok(connection) => connection,
            Err(failed) => {
                // It continues in the first checkout, which has its whole budget.
                if self.unfinished.is_kept() {
                    self.circuit.succeeded(true);
                }
                return Err(failed);
            }
        };
        if !connection.take_turns || !connection.inner.status.near_capacity() {
            connection.keep();
            return Ok(Opened::Kept);
        }
        if self.provisioned {
            // The first invocation may be hours away.
            connection.close().await;
        } else if connection.inner.end_when_idle(INIT_IDLE_NEAR_CAPACITY, deadline).await {
            // It is never reset: near capacity a connection is closed after its first use.
            connection.keep();
        }
        Ok(Opened::ForOneUse)
    }

    /// Borrows a usable connection: waits for a free slot, then checks, replaces or opens its connection. All of it
    /// within `pool_timeout` and `deadline`.
    ///
    /// # Errors
    /// Fails with `Acquire`/`Timeout` if every connection stayed borrowed; otherwise with the last connect error.
    ///
    /// # Cancel safety
    /// Dropping the future returns the slot empty.
    pub async fn checkout(&self, purpose: Purpose, deadline: Deadline) -> Result<PooledConnection, Error> {
        let since = Moment::now();
        let whole = self.budget.unwrap_or(Duration::MAX);
        let deadline = deadline.within(whole);
        let Ok(slot) = timeout(deadline.left(), self.slots.get()).await else {
            return Err(Error::bare(Kind::Timeout, Phase::Acquire)
                .trying(format!(
                    "all {} connections of this environment",
                    self.slots.status().max_size
                ))
                .after(0, since.elapsed()));
        };
        let mut slot = match slot {
            Ok(slot) => slot,
            // Closed by SIGTERM: no invocation follows.
            Err(_) => {
                let shut_down = Error::bare(Kind::Lost, Phase::Acquire).trying("a pool that is shut down");
                return Err(shut_down.after(0, since.elapsed()));
            }
        };
        let connection = match slot.take() {
            Some(connection) => self.revive(connection, purpose, deadline).await?,
            None => self.open(purpose, deadline).await?,
        };
        Ok(PooledConnection {
            slot,
            take_turns: !self.target.pooled,
            inner: connection,
        })
    }

    /// Decides whether an idle connection is usable. Regardless of its idle time, this costs no round trip unless bytes
    /// have arrived on it, or another connection was lost since.
    async fn revive(
        &self,
        mut connection: Connection,
        purpose: Purpose,
        deadline: Deadline,
    ) -> Result<Connection, Error> {
        let unfit = purpose == Purpose::Write && connection.status.read_only;
        if connection.used.elapsed() > MAX_IDLE || connection.opened.elapsed() > connection.lifetime || unfit {
            connection.close().await;
            return self.open(purpose, deadline).await;
        }
        let unsure = purpose == Purpose::Unrepeatable && connection.used.elapsed() > PING_FREE_WINDOW;
        let usable = match connection.peek() {
            Peek::Quiet if !unsure && !self.lost_since(connection.used) => true,
            Peek::Quiet | Peek::Readable => connection.ping(deadline.within(PING_TIMEOUT)).await,
            Peek::Closed => false,
        };
        if usable {
            return Ok(self.prefer_writer(connection, deadline).await);
        }
        tracing::debug!("the connection died while idle");
        drop(connection);
        self.open(purpose, deadline).await
    }

    /// Returns the connection, or one to the writer instead of one to a standby: after a failover the name may resolve
    /// to it, and a standby shows writes late. If there is no writer, the standby is kept, and the next search is
    /// later.
    async fn prefer_writer(&self, mut connection: Connection, deadline: Deadline) -> Connection {
        if !connection.status.read_only || connection.writer_checked.elapsed() < connection.writer_check_after {
            return connection;
        }
        let (least, most) = WRITER_CHECK_TIMEOUT_RANGE;
        let limit = deadline.within((connection.connected_in * 4).clamp(least, most));
        match connect::connect_once(&self.target, Purpose::Write, limit).await {
            Ok(writer) => {
                connection.close().await;
                writer
            }
            Err(_) => {
                connection.writer_checked = Moment::now();
                connection.writer_check_after = (connection.writer_check_after * 2).min(MAX_WRITER_CHECK_INTERVAL);
                connection
            }
        }
    }

    /// Drops a connection that failed in use. Its siblings may be dead too, so those that were last used before this
    /// moment are pinged before they are borrowed.
    pub fn connection_lost<C>(&self, connection: C) {
        drop(connection);
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(Moment::now());
    }

    fn lost_since(&self, used: Moment) -> bool {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.is_some_and(|lost| used.is_before(&lost))
    }

    /// Opens a connection, as far as the circuit allows it.
    async fn open(&self, purpose: Purpose, deadline: Deadline) -> Result<Connection, Error> {
        let since = Moment::now();
        let opened = match self.circuit.admit(purpose, self.budget.unwrap_or(Duration::MAX)) {
            Admission::Retry(budget) => {
                let deadline = deadline.within(budget);
                connect::connect_with_retry(&self.target, purpose, &self.retry, deadline, &self.unfinished).await
            }
            Admission::Probe => {
                let deadline = self.target.within_attempt(deadline);
                let probed = connect::attempt(&self.target, purpose, deadline, &self.unfinished).await;
                count(|counts| counts.attempts += u32::from(probed.is_err()));
                probed
            }
            Admission::Refuse { kind, outage } => {
                return Err(Error::bare(kind, Phase::Connect)
                    .trying(&self.target.name)
                    .refused(outage));
            }
        };
        match &opened {
            Ok(connection) => {
                let took = u32::try_from(connection.connected_in.as_millis()).unwrap_or(u32::MAX);
                self.connect_time.store(took, Ordering::Relaxed);
                self.circuit.succeeded(connection.status.read_only);
            }
            Err(error) => self.circuit.failed(since, error.kind),
        }
        opened
    }

    /// Returns the watch of a statement on this connection: to be taken before each one.
    pub(super) fn watch(&self, connection: &PooledConnection, purpose: Purpose) -> Watch {
        self.witnesses.watch(&connection.inner, purpose)
    }

    /// Waits for a statement as [`Witnesses::watched`].
    pub(super) async fn watched<T, R>(
        &self,
        watch: Watch,
        deadline: Deadline,
        statement: impl Future<Output = Result<T, Abort<R>>>,
    ) -> Watched<T, R> {
        let (target, circuit) = (&self.target, &self.circuit);
        self.witnesses
            .watched(watch, target, circuit, deadline, statement)
            .await
    }

    /// Returns the duration of the last connect.
    pub(super) fn connect_time(&self) -> Duration {
        Duration::from_millis(self.connect_time.load(Ordering::Relaxed).into())
    }

    /// Opens a connection outside the pool, regardless of the circuit: for health. The caller closes it.
    ///
    /// # Errors
    /// Fails with the last connect error, by `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn probe(&self, deadline: Deadline) -> Result<Connection, Error> {
        let unfinished = Unfinished::default();
        connect::connect_with_retry(&self.target, Purpose::Read, &self.retry, deadline, &unfinished).await
    }

    /// Closes every idle connection with Terminate: before a snapshot, and on SIGTERM.
    ///
    /// # Cancel safety
    /// Dropping the future after its first poll closes the remaining connections without Terminate.
    pub async fn close_idle(&self) {
        self.unfinished.discard();
        let idle = self.slots.retain(|_, _| false).removed;
        join_all(idle.into_iter().flatten().map(Connection::close)).await;
    }
}
