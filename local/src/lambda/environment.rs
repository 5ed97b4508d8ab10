//! One execution environment: a process with a Runtime API, its state, and operations on it.
//!
//! Invariants: neither chooses environments nor starts invocations: [`super::fleet`] does. [`super::start`] makes one;
//! [`super::exchange`] has the rules that make it ready, freeze it and thaw it.

use std::fmt;
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::function::Function;
use super::lock;
use super::log::Log;
use super::process::{KERNEL, Process};
use super::state::State;

/// The time between SIGTERM and SIGKILL for a process with an internal extension.
const GRACE: Duration = Duration::from_millis(500);

/// The phase of an environment's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// INIT: the process runs and has not requested an event yet.
    Initializing,
    /// INIT of a SnapStart function has finished, and the process waits to be restored.
    Snapshot,
    /// Restored, and not yet requesting an event.
    Restoring,
    /// INIT has finished: idle, or serving invocations.
    Ready,
    /// The runtime reported that INIT or the restore failed.
    Failed,
    /// The process has ended.
    Ended(ExitStatus),
}

/// One execution environment. It is alive until [`Phase::Ended`]; a handle outlives the process.
pub struct Environment {
    pub(super) id: String,
    pub(super) function: Arc<Function>,
    pub(super) process: Process,
    pub(super) log: Log,
    pub(super) state: Mutex<State>,
    pub(super) phase: watch::Sender<Phase>,
    /// Whether the service freezes idle environments.
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
    /// Returns the environment's id, which is the end of its log stream's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the function it runs.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Returns the process id, which is also that of its process group. It is meaningless after [`Phase::Ended`].
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns its current phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns whether its process has not ended.
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase(), Phase::Ended(_))
    }

    /// Returns whether it was frozen and not thawed since.
    pub fn is_frozen(&self) -> bool {
        lock(&self.state).frozen
    }

    /// Returns the number of its invocations that have not finished.
    pub fn in_flight(&self) -> u32 {
        lock(&self.state).claims
    }

    /// Returns the lines that it wrote to standard output and error so far, oldest first, at most 128 KiB of them. Kept
    /// after the process has ended.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Adds a line of the platform to the log.
    pub(super) fn note(&self, line: &str) {
        self.log.platform(line);
    }

    /// Stops every process of the environment and waits, at most 5 s, until the kernel has done so. Returns whether it
    /// has. An invocation in flight stays so, and its deadline continues.
    pub async fn freeze(&self) -> bool {
        self.stop(&mut lock(&self.state));
        self.process.stopped().await
    }

    /// Continues a frozen environment. An idle one stays thawed until after its next invocation.
    pub fn thaw(&self) {
        self.resume(&mut lock(&self.state));
    }

    /// Waits, at most 5 s twice, until the environment is frozen and the kernel has stopped its process. Returns
    /// whether it is.
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

    /// Shuts the environment down as Lambda does: with a registered extension the process gets SIGTERM and 500 ms, then
    /// SIGKILL; without one, SIGKILL at once. Returns its exit status, or `None` if the kernel had not ended it 5 s
    /// after SIGKILL. Invocations in flight fail as crashed.
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

    /// Gets no further invocation; shuts down after those in flight, or after the function's timeout.
    pub(super) async fn retire(&self) {
        lock(&self.state).retired = true;
        let deadline = Instant::now() + self.function.timeout;
        while self.is_alive() && self.in_flight() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        self.shutdown().await;
    }

    /// Ends the environment without a shutdown: SIGKILL to all its processes, frozen or not. Returns its exit status,
    /// or `None` if the kernel had not ended it after 5 s. The kernel closes its sockets.
    pub async fn destroy(&self) -> Option<ExitStatus> {
        self.kill();
        timeout(KERNEL, self.ended()).await.ok()
    }

    pub(super) fn kill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// Waits without a limit until the process has ended. Cancel safe.
    pub async fn ended(&self) -> ExitStatus {
        let mut phase = self.phase.subscribe();
        loop {
            if let Phase::Ended(status) = *phase.borrow_and_update() {
                return status;
            }
            if phase.changed().await.is_err() {
                // The sender is a field of `self`, so this is unreachable while `self` is borrowed.
                std::future::pending::<()>().await;
            }
        }
    }
}
