//! A streaming standby of a throwaway cluster, a prolonged recovery, and the end of both: promotion.
//!
//! Depends on: `pg_basebackup` beside `postgres` for the copy, and the lines of the servers' logs that report the start
//! of streaming and the end of a promotion.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::cluster::Cluster;
use super::guard::Guard;
use super::home::Home;
use super::port::Wanted;
use super::program::run;
use super::template::SEER;

const SYNCHRONOUS: &str = "synchronous_standby_names";

const COPY: Duration = Duration::from_secs(60);
const STREAM: Duration = Duration::from_secs(30);
const PROMOTION: Duration = Duration::from_secs(60);

/// Whether the primary's commits wait for the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// A commit is acknowledged when the primary has it.
    Asynchronous,
    /// A commit is acknowledged when the standby has it too. While no standby is there, commits of the primary wait
    /// until its `synchronous_standby_names` is set to the empty string again.
    Synchronous,
}

impl Cluster {
    /// Starts a hot standby of this cluster, streaming from it, on a port of its own; user and password are the same.
    /// It is always a throwaway cluster. `name` is its name in `pg_stat_replication`: lower-case letters, digits and
    /// underscores.
    ///
    /// Commits wait for a synchronous standby from the beginning, so concurrent ones take until it streams; if it fails
    /// to start, they no longer wait for it. If this future is dropped they still do.
    pub async fn standby(&self, name: &str, replication: Replication) -> Result<Cluster> {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "{name:?} is no name for a standby"
        );
        match replication {
            Replication::Asynchronous => self.stream_to(name).await,
            Replication::Synchronous => {
                // Set before the copy: the checkpoint at its start is made by the process that has to apply the
                // setting, so there is no moment at which the standby exists and a commit does not wait.
                self.wait_for_standby(name).await?;
                let standby = self.stream_to(name).await;
                if standby.is_err() {
                    self.wait_for_standby("").await?;
                }
                standby
            }
        }
    }

    async fn wait_for_standby(&self, name: &str) -> Result<()> {
        self.set(SYNCHRONOUS, name).await?;
        self.reload().await
    }

    async fn stream_to(&self, name: &str) -> Result<Cluster> {
        let home = Home::throwaway(self.account)?;
        let guard = Guard::over("QUIT", home.to_remove())?;
        let source = format!("host=127.0.0.1 port={} user={SEER}", self.server_port());

        let mut copy = self.account.command(&self.binaries.program("pg_basebackup"));
        copy.args(["--checkpoint=fast", "--no-sync", "--no-password", "--wal-method=stream"]);
        copy.arg("--dbname")
            .arg(&source)
            .arg("--pgdata")
            .arg(home.data())
            .env("PGPASSWORD", self.password());
        run(copy, None, COPY).await.context("cannot copy the primary")?;

        let password = home.folder().join("password");
        std::fs::write(&password, self.password()).with_context(|| format!("cannot write {}", password.display()))?;
        self.stand_by(&home.data())?;

        let mut configuration = self.configuration().await;
        configuration.set(
            "primary_conninfo",
            &format!("{source} password={} application_name={name}", self.password()),
        )?;
        configuration.set(SYNCHRONOUS, "")?;
        let standby = Cluster::begin(
            self.binaries.clone(),
            self.account,
            home,
            guard,
            configuration,
            Wanted::Any,
        )
        .await?;
        standby
            .log
            .says("started streaming WAL from primary", 0, STREAM)
            .await?;
        Ok(standby)
    }

    /// Starts the server after a crash and keeps it in recovery until [`Cluster::promote`]: meanwhile it rejects every
    /// log-in with 57P03.
    pub async fn start_recovering(&self) -> Result<()> {
        self.set("hot_standby", "off").await?;
        self.stand_by(&self.data())?;
        self.start().await
    }

    fn stand_by(&self, data: &Path) -> Result<()> {
        let signal = data.join("standby.signal");
        std::fs::write(&signal, "").with_context(|| format!("cannot write {}", signal.display()))?;
        self.account.own(&signal)
    }

    /// Promotes a standby and waits until it accepts writes. Its old primary, if it still runs, is not informed.
    pub async fn promote(&self) -> Result<()> {
        let said = self.log.end();
        let order = self.data().join("promote");
        std::fs::write(&order, "").with_context(|| format!("cannot write {}", order.display()))?;
        self.account.own(&order)?;
        self.signal(Signal::USR1).await?;
        self.log
            .says("database system is ready to accept connections", said, PROMOTION)
            .await
    }
}
