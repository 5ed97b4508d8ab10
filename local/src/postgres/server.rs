//! One run of the server: the `postgres` process from its start to its end.
//!
//! Its state is what the server itself reports: line 1 of `postmaster.pid` is the process, line 8 its state. Signals go
//! to that process, whose handlers know how to end its children. It uses a standard `Child` instead of tokio's, because
//! a cluster may be started in one runtime and ended in another, or in none.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::binaries::Binaries;
use super::log::{LOOK_AGAIN, Log};

/// Long enough for crash recovery on a loaded machine.
const READY: Duration = Duration::from_secs(60);
/// The limit for killed processes to end.
const GONE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    pid: Pid,
    /// The start of this run's log, in bytes.
    begin: u64,
}

/// The result of a start that did not fail permanently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Ready,
    /// Another process listens on the port.
    PortTaken,
    /// Another server still runs on the data.
    DataTaken,
}

impl Server {
    pub(super) fn spawn(binaries: &Binaries, account: Account, data: &Path, log: &Log) -> Result<Server> {
        let begin = log.end();
        let mut command = account.command(&binaries.program("postgres"));
        // Its own process group: Ctrl-C is for this process, which then stops the server in order.
        command
            .arg("-D")
            .arg(data)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(log.open(account)?);
        let process = command.spawn().context("cannot start PostgreSQL")?;
        let pid = Pid::from_child(&process);
        Ok(Server { process, pid, begin })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the server accepts connections, or has ended. After an error the server may still be running.
    pub(super) async fn ready(&mut self, data: &Path, log: &Log) -> Result<Start> {
        let end = Instant::now() + READY;
        loop {
            // Checked before the log is read, so that the log is complete if it has ended.
            let ended = self.process.try_wait()?;
            if ended.is_none() && self.says_ready(data) {
                // With two addresses, one that cannot be bound is only a warning to PostgreSQL.
                let said = log.since(self.begin);
                return match (
                    said.contains("Address already in use"),
                    said.contains("could not create listen socket"),
                ) {
                    (true, _) => Ok(Start::PortTaken),
                    (false, true) => {
                        bail!("PostgreSQL cannot listen:\n{}", log.last_lines(self.begin))
                    }
                    (false, false) => Ok(Start::Ready),
                };
            }
            if let Some(status) = ended {
                let said = log.since(self.begin);
                if said.contains("Address already in use") {
                    return Ok(Start::PortTaken);
                }
                if said.contains("lock file \"postmaster.pid\" already exists") || said.contains("is still in use") {
                    return Ok(Start::DataTaken);
                }
                bail!(
                    "PostgreSQL did not start ({status}); its log ends with:\n{}",
                    log.last_lines(self.begin)
                );
            }
            if Instant::now() >= end {
                bail!(
                    "PostgreSQL was not ready within {} s; its log ends with:\n{}",
                    READY.as_secs(),
                    log.last_lines(self.begin)
                );
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn says_ready(&self, data: &Path) -> bool {
        let Ok(said) = std::fs::read_to_string(data.join("postmaster.pid")) else {
            return false;
        };
        let mut lines = said.lines();
        let process = lines.next().and_then(|line| line.trim().parse().ok());
        process == Some(self.pid.as_raw_nonzero().get())
            && lines
                .nth(6)
                .is_some_and(|state| ["ready", "standby"].contains(&state.trim()))
    }

    /// Signals the server; does nothing if it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Returns whether the server has ended.
    pub(super) fn ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits until the server has ended; returns false if it has not within `bound`.
    pub(super) async fn end(&mut self, bound: Duration) -> bool {
        let end = Instant::now() + bound;
        while !self.ended() {
            if Instant::now() >= end {
                return false;
            }
            sleep(LOOK_AGAIN).await;
        }
        true
    }

    /// Blocks the thread until the server has ended; see [`Server::end`].
    pub(super) fn end_blocking(&mut self, bound: Duration) -> bool {
        let end = std::time::Instant::now() + bound;
        while !self.ended() {
            if std::time::Instant::now() >= end {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        true
    }

    /// Kills the server and all its children with SIGKILL, like a crash of the machine. They get no chance to write
    /// anything.
    pub(super) fn kill(&self) -> Vec<Pid> {
        // Stopped first, so that it can neither start another child nor see one end.
        self.signal(Signal::STOP);
        let children = children(self.pid);
        for child in &children {
            let _ = kill_process(*child, Signal::KILL);
        }
        self.signal(Signal::KILL);
        children
    }

    /// Waits until the server and these children of it are gone.
    pub(super) async fn gone(&mut self, children: &[Pid]) -> Result<()> {
        let end = Instant::now() + GONE;
        while !(self.ended() && children.iter().all(|child| is_gone(*child))) {
            if Instant::now() >= end {
                bail!(
                    "killed processes of PostgreSQL are still there after {} s",
                    GONE.as_secs()
                );
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Removes the few bytes of System V shared memory that a killed server leaves behind, by their id in line 7 of
/// `postmaster.pid`. Needed only if the server is never started again, because its next start removes them.
pub(super) fn forget_shared_memory(data: &Path) {
    let Ok(said) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    if let Some(id) = said.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        let _ = Command::new("ipcrm")
            .args(["-m", id])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

#[cfg(target_os = "linux")]
fn children(of: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|process| state_and_parent(*process).is_some_and(|(_, parent)| parent == of.as_raw_nonzero().get()))
        .collect()
}

/// Returns whether the process has ended; an ended process that was not reaped holds no resources.
#[cfg(target_os = "linux")]
fn is_gone(process: Pid) -> bool {
    state_and_parent(process).is_none_or(|(state, _)| state == "Z" || state == "X")
}

/// Returns the third and fourth field of `/proc/<pid>/stat`; the second, in parentheses, may contain any text.
#[cfg(target_os = "linux")]
fn state_and_parent(process: Pid) -> Option<(String, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

#[cfg(not(target_os = "linux"))]
fn children(of: Pid) -> Vec<Pid> {
    let listed = std::process::Command::new("ps")
        .args(["-A", "-o", "pid=,ppid="])
        .stdin(Stdio::null())
        .output();
    let listed = listed.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let pairs = listed.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.next()?.parse::<i32>().ok()?))
    });
    pairs
        .filter(|(_, parent)| *parent == of.as_raw_nonzero().get())
        .filter_map(|(process, _)| Pid::from_raw(process))
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn is_gone(process: Pid) -> bool {
    rustix::process::test_kill_process(process).is_err()
}
