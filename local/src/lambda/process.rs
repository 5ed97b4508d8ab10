//! The process of an execution environment: its process group, its environment variables, signals, and its end.
//!
//! Invariants: knows nothing of runtimes. Depends on: the group, for everything that the process starts, and the
//! watchdog, in case this process is killed.

use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::function::Function;
use super::log::Log;
use super::watchdog::Watchdog;

/// The longest wait for the kernel to perform a signal's action.
pub(super) const KERNEL: Duration = Duration::from_secs(5);
/// The longest wait for the rest of the log of a process that has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(super) struct Process {
    group: Pid,
    /// True until the process is reaped; after that its id may be reused.
    running: AtomicBool,
    watchdog: Arc<Watchdog>,
}

impl Process {
    /// Starts the function's binary with Lambda's variables and none of this process. Pass the child to
    /// [`Self::supervise`].
    pub(super) fn start(
        function: &Function,
        runtime_api: &str,
        environment: &str,
        (stdout, stderr): (Stdio, Stdio),
        watchdog: &Arc<Watchdog>,
    ) -> anyhow::Result<(Self, Child)> {
        let mut command = std::process::Command::new(&function.binary);
        command
            .env_clear()
            .envs(function.variables(runtime_api, environment))
            .current_dir(function.task_root())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        let child = Command::from(command).kill_on_drop(true).spawn().with_context(|| {
            let binary = function.binary.display();
            format!("cannot start {binary} for function {}", function.name)
        })?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = id.context("the child has no process id")?;
        watchdog.add(group);
        let process = Self {
            group,
            running: AtomicBool::new(true),
            watchdog: Arc::clone(watchdog),
        };
        Ok((process, child))
    }

    pub(super) fn id(&self) -> u32 {
        self.group.as_raw_pid().cast_unsigned()
    }

    /// Signals the whole group, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if self.running.load(Ordering::Acquire) {
            // It fails only if the process has just ended, which `supervise` notices.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Waits, at most 5 s, until the kernel has stopped the process. Returns whether it has.
    pub(super) async fn stopped(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let deadline = Instant::now() + KERNEL;
        while Instant::now() < deadline && self.running.load(Ordering::Acquire) {
            match rustix::process::waitid(WaitId::Pid(self.group), options) {
                Ok(Some(status)) if status.stopped() => return true,
                Ok(_) => sleep(Duration::from_millis(1)).await,
                Err(_) => return false,
            }
        }
        false
    }

    /// Reads the log and waits for the end of the process, then kills everything that it has started.
    pub(super) async fn supervise(&self, mut child: Child, log: &Log) -> ExitStatus {
        let mut reading = true;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                more = log.read(), if reading => reading = more,
            }
        };
        self.running.store(false, Ordering::Release);
        let _ = kill_process_group(self.group, Signal::KILL);
        self.watchdog.remove(self.group);
        // The log ends with the last process that holds it; one that left the group may hold it for long.
        let _ = timeout(LAST_WORDS, async { while reading && log.read().await {} }).await;
        log.close();
        status.unwrap_or_default()
    }
}
