//! The machine, commit and date of a run: enough to interpret its figures, and no host name.

use anyhow::Result;
use local::postgres::Binaries;
use serde::Serialize;
use tokio::process::Command;

use crate::checkout::Checkout;

/// The circumstances of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// `git describe --always --dirty`; `None` without a checkout or git.
    pub(crate) commit: Option<String>,
    /// The date in UTC, as YYYY-MM-DD.
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// The load average of the preceding minute: above 0.5 per core, other work ran during the measurement.
    pub(crate) load_before: f64,
    pub(crate) postgres: String,
}

impl Machine {
    /// Reads the circumstances from this machine.
    ///
    /// # Errors
    /// Fails if there is no PostgreSQL.
    pub(crate) async fn here(checkout: Option<&Checkout>) -> Result<Self> {
        let commit = match checkout {
            Some(checkout) => commit_of(checkout).await,
            None => None,
        };
        let binaries = Binaries::find().await?;
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            commit,
            date: chrono::Utc::now().date_naive().to_string(),
            cpu: model
                .map_or("unknown CPU", |model| model.trim_start_matches([':', '\t', ' ']))
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_before: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
            postgres: binaries.version().split(' ').next().unwrap_or_default().to_owned(),
        })
    }

    /// Formats the circumstances as one line.
    pub(crate) fn line(&self) -> String {
        let commit = self.commit.as_ref();
        format!(
            "{}{}, {} with {} cores, PostgreSQL {}, load average before {:.1}",
            commit.map_or_else(String::new, |commit| format!("commit {commit}, ")),
            self.date,
            self.cpu,
            self.cores,
            self.postgres,
            self.load_before
        )
    }
}

async fn commit_of(checkout: &Checkout) -> Option<String> {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(&checkout.root)
        .output()
        .await
        .ok()?;
    let commit = String::from_utf8_lossy(&described.stdout).trim().to_owned();
    (described.status.success() && !commit.is_empty()).then_some(commit)
}
