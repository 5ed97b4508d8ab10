//! The database of `cargo local`: a cluster of this checkout, or the one that `DATABASE_URL` names.
//!
//! The first is always migrated and seeded; the second only if requested, and it is never deleted.

use std::io::{Write as _, stderr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use local::postgres::{Binaries, Cluster, Settings, Shutdown};
use shared::config::{Config, DatabaseUrl};
use shared::db::migrate::{migrate, seed};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Arguments;
use super::step::Step;

/// An admin, a team member, meetings and tasks; idempotent.
const SEED: &str = include_str!("../seed.sql");

/// A database that is ready to use.
pub(crate) struct Database {
    /// The functions' `DATABASE_URL`.
    pub(crate) url: String,
    /// Whether it contains the users of the seed data.
    pub(crate) seeded: bool,
    cluster: Option<Cluster>,
}

/// The interval at which a database that was lost is tried again.
const AGAIN: Duration = Duration::from_secs(3);

impl Database {
    /// Starts or finds the database. `given` is `DATABASE_URL`, `folder` the location of the checkout's own cluster.
    /// Dropping the future, or its result, stops the cluster.
    ///
    /// # Errors
    /// Fails with one line: no PostgreSQL available, a folder in use, a malformed `DATABASE_URL`, a migration that
    /// fails.
    pub(crate) async fn ready(arguments: &Arguments, given: Option<String>, folder: &Path) -> Result<Self> {
        let database = match given {
            Some(url) => given_one(arguments, url).await?,
            None => own(arguments, folder).await?,
        };
        let own = database.cluster.is_some();
        let url = DatabaseUrl::parse(&database.url)?;
        if own || arguments.migrate {
            let step = Step::begin("migrations");
            let applied = migrate(&url, &functions::SERVICE)
                .await
                .with_context(|| if own { HINT } else { "cannot migrate" })?;
            step.done(&match applied.len() {
                0 => "nothing to do".to_owned(),
                count => format!("{count} applied"),
            });
        }
        if database.seeded {
            let step = Step::begin("seed");
            seed(&url, &functions::SERVICE, SEED)
                .await
                .with_context(|| if own { HINT } else { "cannot seed" })?;
            step.done("an admin, a team member, meetings and tasks");
        }
        Ok(database)
    }

    /// Returns whether it is the checkout's own.
    pub(crate) fn is_own(&self) -> bool {
        self.cluster.is_some()
    }

    /// Returns the URL to show: with the password if the database is the checkout's own, which nobody else reaches.
    pub(crate) fn shown(&self) -> String {
        match (&self.cluster, DatabaseUrl::parse(&self.url)) {
            (None, Ok(url)) => format!("{}/{}, of DATABASE_URL", url.endpoint(), url.database()),
            (Some(_) | None, _) => self.url.clone(),
        }
    }

    /// Reports when the functions cannot reach the database, with the cause, and when they can again; `unavailable` is
    /// notified if that may be so. Never returns.
    pub(crate) async fn watch(&self, unavailable: &Notify) {
        let Ok(url) = DatabaseUrl::parse(&self.url) else {
            return std::future::pending().await;
        };
        loop {
            unavailable.notified().await;
            let Some(verdict) = doctor::cannot_connect(&url).await else {
                continue;
            };
            let _ = writeln!(stderr(), "{verdict}");
            if let Some(cluster) = &self.cluster {
                let log = cluster.log().display();
                let _ = writeln!(
                    stderr(),
                    "It is the server of `cargo local`: start that again. Its log: {log}"
                );
            }
            while doctor::cannot_connect(&url).await.is_some() {
                sleep(AGAIN).await;
            }
            let _ = writeln!(stderr(), "the database can be reached again");
        }
    }

    /// Stops the checkout's own cluster, after a checkpoint; another database is not touched.
    ///
    /// # Errors
    /// Fails if it does not stop within a minute.
    pub(crate) async fn stop(self) -> Result<()> {
        match self.cluster {
            Some(cluster) => cluster.stop(Shutdown::Fast).await,
            None => Ok(()),
        }
    }
}

/// The hint for data that this build cannot use.
const HINT: &str = "cannot use the data of earlier runs (`cargo local --reset` throws it away)";

async fn given_one(arguments: &Arguments, url: String) -> Result<Database> {
    ensure!(
        !arguments.reset,
        "--reset throws away the data in target/local, but DATABASE_URL names another database: unset it, or leave --reset out"
    );
    let read = Config::from_env().database?.url;
    let step = Step::begin("database");
    if let Some(verdict) = doctor::cannot_connect(&read).await {
        drop(step);
        let _ = writeln!(stderr(), "{verdict}");
        bail!("the functions could not use the database of DATABASE_URL");
    }
    step.done(&format!("{}/{} of DATABASE_URL", read.endpoint(), read.database()));
    Ok(Database {
        url,
        seeded: arguments.seed,
        cluster: None,
    })
}

async fn own(arguments: &Arguments, folder: &Path) -> Result<Database> {
    if arguments.reset {
        let step = Step::begin("data");
        Cluster::remove(folder).await?;
        step.done("thrown away");
    }
    let step = Step::begin("PostgreSQL");
    let binaries = Binaries::find().await?;
    step.done(&format!("{} in {}", binaries.version(), binaries.folder().display()));
    let step = Step::begin("database");
    let cluster = Cluster::durable(folder, Settings::default()).await?;
    step.done(&format!("127.0.0.1:{} in {}", cluster.port(), folder.display()));
    Ok(Database {
        url: cluster.url(),
        seeded: true,
        cluster: Some(cluster),
    })
}
