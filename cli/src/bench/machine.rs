//! The machine, commit and date of a run: enough to interpret its figures, and no host name.

use anyhow::{Context as _, Result};
use local::postgres::Cluster;
use serde::Serialize;
use tokio::process::Command;

use super::testbed::connect;
use crate::checkout::Checkout;

/// The circumstances of a run.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    /// `git describe --always --dirty`.
    pub(super) commit: String,
    /// The date in UTC, as YYYY-MM-DD.
    pub(super) date: String,
    pub(super) cpu: String,
    pub(super) cores: usize,
    /// The load average of the preceding minute: above 0.5 per core, other work ran during the measurement.
    pub(super) load_before: f64,
    pub(super) postgres: String,
}

impl Machine {
    /// Reads the circumstances from this machine.
    ///
    /// # Errors
    /// Fails if git is missing or the server does not answer.
    pub(super) async fn here(checkout: &Checkout, cluster: &Cluster) -> Result<Self> {
        let described = Command::new("git")
            .args(["describe", "--always", "--dirty", "--exclude=*"])
            .current_dir(&checkout.root)
            .output()
            .await
            .context("cannot run git")?;
        let mut direct = connect(&cluster.url()).await?;
        let (date, postgres): (String, String) =
            sqlx::query_as("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), current_setting('server_version')")
                .fetch_one(&mut direct)
                .await?;
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            commit: String::from_utf8_lossy(&described.stdout).trim().to_owned(),
            date,
            cpu: model
                .map_or("unknown CPU", |model| model.trim_start_matches([':', '\t', ' ']))
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_before: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
            postgres: postgres.split(' ').next().unwrap_or_default().to_owned(),
        })
    }

    /// Formats the circumstances as one line.
    pub(super) fn line(&self) -> String {
        format!(
            "commit {}, {}, {} with {} cores, PostgreSQL {}, load average before {:.1}",
            self.commit, self.date, self.cpu, self.cores, self.postgres, self.load_before
        )
    }
}
