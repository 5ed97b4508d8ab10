//! The server's log file: its last lines, and waiting for a line that announces a state.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

use super::account::Account;

/// How many lines an error shows.
const LAST_LINES: usize = 20;
/// The interval for checking a file while waiting for a state.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
pub(super) struct Log {
    path: PathBuf,
}

impl Log {
    pub(super) fn at(path: PathBuf) -> Log {
        Log { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for a server to append to.
    pub(super) fn open(&self, account: Account) -> Result<File> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .with_context(|| format!("cannot write the server log {}", self.path.display()))?;
        account.own(&self.path)?;
        Ok(file)
    }

    /// Returns the position of the next line, in bytes.
    pub(super) fn end(&self) -> u64 {
        self.path.metadata().map_or(0, |found| found.len())
    }

    /// Returns the text written since `start`; empty if it cannot be read.
    pub(super) fn since(&self, start: u64) -> String {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            file.read_to_end(&mut text)
        });
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&text).into_owned())
    }

    /// Returns the last lines since `start`, for an error.
    pub(super) fn last_lines(&self, start: u64) -> String {
        let text = self.since(start);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Waits until a line since `start` contains `words`.
    pub(super) async fn says(&self, words: &str, start: u64, bound: Duration) -> Result<()> {
        let end = Instant::now() + bound;
        while !self.since(start).lines().any(|line| line.contains(words)) {
            if Instant::now() >= end {
                bail!(
                    "PostgreSQL did not log \"{words}\" within {} s; its log ends with:\n{}",
                    bound.as_secs(),
                    self.last_lines(start)
                );
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}
