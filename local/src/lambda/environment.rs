//! One execution environment: a process with a Runtime API, and what can be asked of it and done to it.
//!
//! It may not choose environments or start invocations of its own accord: [`super::fleet`] does. It
//! relies on [`super::exchange`] for the rules that make it ready, freeze it and thaw it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::exchange::{Claim, State};
use super::function::Function;
use super::log::{Forward, Log};
use super::process::{KERNEL, Process};
use super::watchdog::Watchdog;
use super::{lock, runtime_api};

/// What a process with an internal extension gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// Where an environment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// INIT: the process runs and has not asked for an event yet.
    Initializing,
    /// INIT of a SnapStart function is over, and the process waits to be restored.
    Snapshot,
    /// Restored, and not yet asking for an event.
    Restoring,
    /// INIT is over: idle, or serving invocations.
    Ready,
    /// The runtime reported that INIT or the restore failed.
    Failed,
    /// The process is gone.
    Ended(ExitStatus),
}

/// One execution environment. It is alive until [`Phase::Ended`]; a handle outlives the process.
pub struct Environment {
    id: String,
    pub(super) function: Arc<Function>,
    pub(super) process: Process,
    log: Log,
    pub(super) state: Mutex<State>,
    pub(super) phase: watch::Sender<Phase>,
    /// Whether the service freezes what is idle.
    pub(super) freezing: Arc<AtomicBool>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase();
        write!(
            f,
            "{} {} (process {}, {phase:?})",
            self.function.name,
            self.id,
            self.pid()
        )
    }
}

impl Environment {
    /// Starts the process and its Runtime API; INIT goes on by itself. The claim is on its first slot.
    pub(super) fn start(
        function: &Arc<Function>,
        freezing: &Arc<AtomicBool>,
        watchdog: &Arc<Watchdog>,
        forward_log: Option<Forward>,
    ) -> anyhow::Result<Claim> {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .context("cannot listen on 127.0.0.1 for a Runtime API")?;
        listener.set_nonblocking(true)?;
        let runtime_api = listener.local_addr()?.to_string();
        let listener = TcpListener::from_std(listener)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (log, stdout, stderr) = Log::new(forward_log.map(|to| (function.name.clone(), to)))?;
        let output = (stdout, stderr);
        let (process, child) = Process::start(function, &runtime_api, &id, output, watchdog)?;

        let environment = Arc::new(Self {
            id,
            function: Arc::clone(function),
            process,
            log,
            state: Mutex::new(State::new()),
            phase: watch::Sender::new(Phase::Initializing),
            freezing: Arc::clone(freezing),
        });
        let supervised = Arc::clone(&environment);
        tokio::spawn(async move {
            let status = supervised.process.supervise(child, &supervised.log).await;
            supervised.end(status);
        });
        tokio::spawn(runtime_api::serve(listener, Arc::clone(&environment)));
        Ok(Claim::first(environment))
    }

    /// The environment's id, which ends the name of its log stream.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The function it runs.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The process id, also that of its process group. It means nothing after [`Phase::Ended`].
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it is in its life, now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether its process has not ended.
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase(), Phase::Ended(_))
    }

    /// Whether it was told to freeze and not to thaw since.
    pub fn is_frozen(&self) -> bool {
        lock(&self.state).frozen
    }

    /// Invocations it was given and that are not over.
    pub fn in_flight(&self) -> u32 {
        lock(&self.state).claims
    }

    /// The lines it wrote to standard output and error, oldest first, at most 128 KiB of them, with
    /// everything written up to now. Kept after the process has ended.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Adds a line of the platform's own to the log.
    pub(super) fn note(&self, line: &str) {
        self.log.platform(line);
    }

    /// Stops every process of the environment and waits, at most 5 s, until the kernel has done so.
    /// Returns whether it has. An invocation in flight stays so, and its deadline goes on.
    pub async fn freeze(&self) -> bool {
        self.stop(&mut lock(&self.state));
        self.process.stopped().await
    }

    /// Lets a frozen environment go on. An idle one stays thawed until after its next invocation.
    pub fn thaw(&self) {
        self.resume(&mut lock(&self.state));
    }

    /// Waits, at most 5 s twice, until the environment is frozen and the kernel has stopped its
    /// process. Returns whether it is.
    pub async fn until_frozen(&self) -> bool {
        let deadline = Instant::now() + KERNEL;
        while !self.is_frozen() {
            if Instant::now() > deadline || !self.is_alive() {
                return false;
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.process.stopped().await
    }

    /// Shuts the environment down as Lambda does: with a registered extension the process gets SIGTERM
    /// and 500 ms, then, or at once without one, SIGKILL. Returns how it ended, or `None` when the
    /// kernel had not ended it 5 s after SIGKILL. Invocations in flight fail as crashed.
    pub async fn shutdown(&self) -> Option<ExitStatus> {
        let told = {
            let mut state = lock(&self.state);
            let told = state.has_extension();
            if told {
                self.resume(&mut state);
                self.process.signal(Signal::TERM);
            }
            told
        };
        if told && let Ok(status) = timeout(GRACE, self.ended()).await {
            return Some(status);
        }
        self.destroy().await
    }

    /// Ends the environment with no goodbye: SIGKILL to all its processes, frozen or not. Returns how
    /// it ended, or `None` when the kernel had not ended it after 5 s. The kernel closes its sockets.
    pub async fn destroy(&self) -> Option<ExitStatus> {
        self.kill();
        timeout(KERNEL, self.ended()).await.ok()
    }

    pub(super) fn kill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// Waits until the process is gone, however long that is. Cancel safe.
    pub async fn ended(&self) -> ExitStatus {
        let mut phase = self.phase.subscribe();
        loop {
            if let Phase::Ended(status) = *phase.borrow_and_update() {
                return status;
            }
            if phase.changed().await.is_err() {
                // Its sender is a field of ours, so this cannot be while `self` is borrowed.
                std::future::pending::<()>().await;
            }
        }
    }
}
