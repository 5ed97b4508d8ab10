//! A TCP proxy between functions and PostgreSQL that injects failures of networks and servers.
//!
//! | fault | call | on the wire |
//! |---|---|---|
//! | new connections fail | [`Proxy::set_admission`] | refused, reset, dropped, held, slow, queued, rejected with an error: see [`Admission`] |
//! | a dead address | [`Blackhole::at`] | SYNs to it are dropped |
//! | reset | [`Proxy::reset`] | RST on both sides |
//! | a dead link | [`Proxy::silence`] | a socket filter drops everything that arrives: no ACK, no FIN, no RST |
//! | a hung path | [`Proxy::hang`] | data and FIN are acknowledged, and nothing is delivered in either direction |
//! | delay | [`Proxy::set_delay`] | bytes that arrive together are delayed |
//! | one request | [`Proxy::order`] | cut or hung at a place, late, or twice: see [`Effect`] and [`Cut`] |
//! | a wrong statement | [`Proxy::replace`] | it is prepared with another text |
//!
//! Requests are recognized by their SQL, see [`Statements`]: a COMMIT, or a text that a simple query or a statement
//! prepared on the connection contains. A write that is one statement is recognized by its receipt's table. A request
//! is forwarded as a whole once its Sync has arrived; messages before a Flush are forwarded with the Flush, unchanged.
//!
//! Invariants: parses no SQL, asserts nothing, and adds nothing to the messages of either side, except the answers of a
//! [`Refusal`] and the text of [`Proxy::replace`]. TLS passes through and hides requests and errors. Silence and dropped SYNs require Linux: on other
//! systems a silent connection acknowledges the data that it ignores.

mod admission;
mod filter;
mod frames;
mod line;
mod orders;
mod requests;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use admission::{Admission, Blackhole};
pub use frames::Refusal;
pub use orders::{Cut, Effect};
pub use requests::Statements;

use line::LineState;
use orders::Orders;
use requests::Request;

/// A proxy in front of one server. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    admission: watch::Sender<Admission>,
    in_force: watch::Receiver<Admission>,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

/// Counters since the proxy's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were forwarded.
    pub opened: u64,
    /// Connections open now, including silent ones.
    pub open: usize,
    /// The maximum number of concurrently open connections.
    pub peak: usize,
    /// The maximum number of concurrent sessions; connections that the server rejected are not counted.
    pub peak_sessions: usize,
    /// ReadyForQuery messages from the server: round trips, including the one that ends the start-up.
    pub ready: u64,
    /// Orders that were carried out, for example COMMITs that were cut.
    pub cut: u64,
    /// Requests that [`Effect::LateRequest`] delayed and that the server has answered since.
    pub late: u64,
    /// Log-ins that the server completed: connections with a ReadyForQuery.
    pub logins: u64,
    /// Connections that ran a statement of the extended protocol. The status query after a log-in is a simple one, so
    /// `logins - used` log-ins served no request, and `opened - used` connections were begun for nothing; one that
    /// prepares and runs a statement in INIT counts as used.
    pub used: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    lines: Mutex<HashMap<u64, watch::Sender<LineState>>>,
    delay: watch::Sender<Delay>,
    orders: Mutex<Orders>,
    idle_sessions: watch::Sender<Option<Duration>>,
    rewriting: Mutex<Rewriting>,
    /// Errors that were forwarded, by SQLSTATE.
    errors: watch::Sender<HashMap<String, u64>>,
    opened: AtomicU64,
    peak: AtomicU64,
    sessions: AtomicU64,
    peak_sessions: AtomicU64,
    ready: AtomicU64,
    cut: AtomicU64,
    late: AtomicU64,
    logins: AtomicU64,
    used: AtomicU64,
}

/// The statements that clients prepare.
#[derive(Debug, Default)]
struct Rewriting {
    prepared: BTreeSet<String>,
    /// A text, and the one that is prepared instead.
    replacement: Option<(String, String)>,
}

/// The delay of all bytes, in each direction.
#[derive(Clone, Copy, Debug, Default)]
struct Delay {
    latency: Duration,
    jitter: Duration,
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of `upstream`.
    ///
    /// # Errors
    /// Fails if there is no free port.
    pub async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, upstream).await
    }

    /// Starts a proxy on a free port of this address.
    ///
    /// # Errors
    /// Fails if the address is not this machine's, or has no free port.
    pub async fn start_at(address: Ipv4Addr, upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = admission::listen(SocketAddr::from((address, 0))).context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            lines: Mutex::default(),
            delay: watch::Sender::new(Delay::default()),
            orders: Mutex::default(),
            idle_sessions: watch::Sender::new(None),
            rewriting: Mutex::default(),
            errors: watch::Sender::new(HashMap::new()),
            opened: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            peak_sessions: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            late: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            used: AtomicU64::new(0),
        });
        let admission = watch::Sender::new(Admission::Open);
        let (told, in_force) = watch::channel(Admission::Open);
        let acceptor = tokio::spawn(admission::admit(
            listener,
            admission.subscribe(),
            told,
            Arc::clone(&shared),
        ));
        Ok(Self {
            address,
            admission,
            in_force,
            shared,
            acceptor,
        })
    }

    /// Returns the address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `url` with the server's `host:port` replaced by the proxy's.
    pub fn url(&self, url: &str) -> String {
        let upstream = self.upstream().to_string();
        url.replacen(&upstream, &self.address.to_string(), 1)
    }

    /// Sends new connections to another server, like a changed DNS record.
    pub fn redirect(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// Sets the treatment of new connections. In force when this returns.
    pub async fn set_admission(&self, admission: Admission) {
        self.admission.send_replace(admission);
        // Fails only if the accepting task has ended, and then no treatment is in force.
        let _ = self.in_force.clone().wait_for(|now| *now == admission).await;
    }

    /// Delays all bytes from now on by `latency` plus up to `jitter`, in each direction.
    pub fn set_delay(&self, latency: Duration, jitter: Duration) {
        self.shared.delay.send_replace(Delay { latency, jitter });
    }

    /// Silences existing connections permanently: everything that arrives is dropped without an acknowledgement,
    /// including FIN and RST. Returns how many.
    pub fn silence(&self) -> usize {
        self.tell(LineState::Silent)
    }

    /// Hangs existing connections permanently, as behind a stopped process or a hung load balancer: data and the end of
    /// the stream are acknowledged, and nothing is delivered in either direction. The server keeps the session. Returns
    /// how many.
    pub fn hang(&self) -> usize {
        self.tell(LineState::Hung)
    }

    /// Resets existing connections on both sides. Returns how many.
    pub fn reset(&self) -> usize {
        self.tell(LineState::Reset)
    }

    /// Orders effects for the next requests that run these statements, one effect per request, after earlier orders. A
    /// request takes the oldest order that applies to it.
    pub fn order(&self, statements: Statements, effects: impl IntoIterator<Item = Effect>) {
        lock(&self.shared.orders).add(statements, effects);
    }

    /// Withdraws the orders for these statements that are not carried out yet.
    pub fn withdraw(&self, statements: Statements) {
        lock(&self.shared.orders).withdraw(statements);
    }

    /// Cuts the connection of each of the next `times` COMMITs at the given place, replacing earlier orders for them.
    pub fn cut_commits(&self, cut: Cut, times: u64) {
        let mut orders = lock(&self.shared.orders);
        orders.withdraw(Statements::Commits);
        orders.add(Statements::Commits, (0..times).map(|_| Effect::Cut(cut)));
    }

    /// From now on shortens a new connection's `idle_session_timeout` to this, if it requests one, so that tests reach
    /// a timeout of minutes in seconds. At most 999,999 ms, and not longer than requested.
    pub fn shorten_idle_sessions(&self, timeout: Duration) {
        self.shared.idle_sessions.send_replace(Some(timeout));
    }

    /// From now on prepares `to` where a client prepares `from`, replacing an earlier order. A statement that is prepared
    /// already stays until its connection ends.
    pub fn replace(&self, from: &str, to: &str) {
        lock(&self.shared.rewriting).replacement = Some((from.to_owned(), to.to_owned()));
    }

    /// Returns the texts of the statements that were prepared since the last call, by any connection.
    pub fn take_prepared(&self) -> BTreeSet<String> {
        std::mem::take(&mut lock(&self.shared.rewriting).prepared)
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            opened: count(&self.shared.opened),
            open: lock(&self.shared.lines).len(),
            peak: usize::try_from(count(&self.shared.peak)).unwrap_or(usize::MAX),
            peak_sessions: usize::try_from(count(&self.shared.peak_sessions)).unwrap_or(usize::MAX),
            ready: count(&self.shared.ready),
            cut: count(&self.shared.cut),
            late: count(&self.shared.late),
            logins: count(&self.shared.logins),
            used: count(&self.shared.used),
        }
    }

    /// Returns how many errors with this SQLSTATE were forwarded or sent in a rejection, if they were not encrypted.
    pub fn errors(&self, sqlstate: &str) -> u64 {
        self.shared.errors.borrow().get(sqlstate).copied().unwrap_or_default()
    }

    /// Waits until there are more than `known` of them. Cancel safe.
    pub async fn until_error(&self, sqlstate: &str, known: u64) {
        let more = |errors: &HashMap<String, u64>| errors.get(sqlstate).is_some_and(|count| *count > known);
        // The sender is a field of `self`, so this cannot fail while `self` is borrowed.
        let _ = self.shared.errors.subscribe().wait_for(more).await;
    }

    fn upstream(&self) -> SocketAddr {
        *lock(&self.shared.upstream)
    }

    fn tell(&self, state: LineState) -> usize {
        let mut told = 0;
        for line in lock(&self.shared.lines).values().filter(|line| !line.is_closed()) {
            line.send_replace(state);
            told += 1;
        }
        told
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.tell(LineState::Reset);
    }
}

impl Shared {
    /// Takes the order for this request; [`Effect::Nothing`] if there is none.
    fn take_order(&self, request: &Request) -> Effect {
        let Some(effect) = lock(&self.orders).take(request) else {
            return Effect::Nothing;
        };
        self.cut.fetch_add(1, Ordering::SeqCst);
        effect
    }

    fn note_error(&self, sqlstate: String) {
        self.errors
            .send_modify(|errors| *errors.entry(sqlstate).or_default() += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
