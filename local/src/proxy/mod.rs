//! A TCP proxy between functions and PostgreSQL that fails as networks and servers do.
//!
//! Every fault is real on the wire. Silence is a socket filter that drops what arrives, so nothing is acknowledged and no
//! FIN or RST gets through, as behind a dead link; a swallowed SYN is the same filter on the listener. Nothing here
//! understands SQL beyond telling COMMIT from the rest. It asserts nothing: tests and the fault catalogue drive it.
//!
//! Linux only where it says so: elsewhere silence acknowledges what it ignores.

mod door;
mod frames;
mod line;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use door::Door;
pub use line::Cut;

use line::State;

/// A proxy in front of one server. Dropped, it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    door: watch::Sender<Door>,
    in_force: watch::Receiver<Door>,
    shared: Arc<Shared>,
    doorkeeper: JoinHandle<()>,
}

/// What the proxy has seen, counted from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were let through.
    pub opened: u64,
    /// Connections open now, silent ones included.
    pub open: usize,
    /// The most that were open at once.
    pub peak: usize,
    /// The most that the server had taken at once: those it refused are not among them.
    pub peak_sessions: usize,
    /// ReadyForQuery messages from the server: round trips, the one that ends the start-up included.
    pub ready: u64,
    /// COMMITs that were cut.
    pub cut: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    lines: Mutex<HashMap<u64, watch::Sender<State>>>,
    weather: watch::Sender<Weather>,
    cuts: Mutex<Option<(Cut, u64)>>,
    idle_sessions: watch::Sender<Option<Duration>>,
    /// Errors that were passed on, by SQLSTATE.
    errors: watch::Sender<HashMap<String, u64>>,
    opened: AtomicU64,
    peak: AtomicU64,
    sessions: AtomicU64,
    peak_sessions: AtomicU64,
    ready: AtomicU64,
    cut: AtomicU64,
}

/// Delay of everything that passes, in each direction.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    latency: Duration,
    jitter: Duration,
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of `upstream`.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = door::listen(SocketAddr::from(([127, 0, 0, 1], 0))).context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            lines: Mutex::default(),
            weather: watch::Sender::new(Weather::default()),
            cuts: Mutex::default(),
            idle_sessions: watch::Sender::new(None),
            errors: watch::Sender::new(HashMap::new()),
            opened: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            peak_sessions: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        });
        let door = watch::Sender::new(Door::Open);
        let (told, in_force) = watch::channel(Door::Open);
        let doorkeeper = tokio::spawn(door::keep(listener, door.subscribe(), told, Arc::clone(&shared)));
        Ok(Self {
            address,
            door,
            in_force,
            shared,
            doorkeeper,
        })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with the server's `host:port` replaced by the proxy's.
    pub fn url(&self, url: &str) -> String {
        let upstream = self.upstream().to_string();
        url.replacen(&upstream, &self.address.to_string(), 1)
    }

    /// Sends new connections to another server, as a changed DNS record would.
    pub fn redirect(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// Decides what new connections meet. In force when this returns.
    pub async fn set_door(&self, door: Door) {
        self.door.send_replace(door);
        // Fails only when the doorkeeper is gone, and then no door is in force.
        let _ = self.in_force.clone().wait_for(|now| *now == door).await;
    }

    /// Delays everything that passes from now on by `latency` plus up to `jitter`, in each direction.
    pub fn set_delay(&self, latency: Duration, jitter: Duration) {
        self.shared.weather.send_replace(Weather { latency, jitter });
    }

    /// Existing connections fall silent for good: what is sent vanishes, and so does any goodbye. Returns how many.
    pub fn silence(&self) -> usize {
        self.tell(State::Silent)
    }

    /// Existing connections are reset on both sides. Returns how many.
    pub fn reset(&self) -> usize {
        self.tell(State::Reset)
    }

    /// Cuts the connection of each of the next `times` COMMITs, at the given place.
    pub fn cut_commits(&self, cut: Cut, times: u64) {
        *lock(&self.shared.cuts) = Some((cut, times));
    }

    /// From now on a new connection's `idle_session_timeout` is passed on as this long, when it asks for one: so that a
    /// timeout of minutes can be met in seconds. At most 999,999 ms, and no longer than what is asked for.
    pub fn shorten_idle_sessions(&self, timeout: Duration) {
        self.shared.idle_sessions.send_replace(Some(timeout));
    }

    /// What was seen so far.
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            opened: count(&self.shared.opened),
            open: lock(&self.shared.lines).len(),
            peak: usize::try_from(count(&self.shared.peak)).unwrap_or(usize::MAX),
            peak_sessions: usize::try_from(count(&self.shared.peak_sessions)).unwrap_or(usize::MAX),
            ready: count(&self.shared.ready),
            cut: count(&self.shared.cut),
        }
    }

    /// How many errors with this SQLSTATE the server has sent, as far as it was not encrypted.
    pub fn errors(&self, sqlstate: &str) -> u64 {
        self.shared.errors.borrow().get(sqlstate).copied().unwrap_or_default()
    }

    /// Waits until there are more than `known` of them. Cancel safe.
    pub async fn until_error(&self, sqlstate: &str, known: u64) {
        let more = |errors: &HashMap<String, u64>| errors.get(sqlstate).is_some_and(|count| *count > known);
        // The sender is a field of ours, so this cannot fail while `self` is borrowed.
        let _ = self.shared.errors.subscribe().wait_for(more).await;
    }

    fn upstream(&self) -> SocketAddr {
        *lock(&self.shared.upstream)
    }

    fn tell(&self, state: State) -> usize {
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
        self.doorkeeper.abort();
        self.tell(State::Reset);
    }
}

impl Shared {
    /// Takes one of the ordered cuts, if any is left.
    fn take_cut(&self) -> Option<Cut> {
        let mut cuts = lock(&self.cuts);
        let (cut, left) = cuts.as_mut()?;
        let cut = *cut;
        *left -= 1;
        if *left == 0 {
            *cuts = None;
        }
        self.cut.fetch_add(1, Ordering::SeqCst);
        Some(cut)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
