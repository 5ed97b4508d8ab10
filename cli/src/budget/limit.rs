//! The connections that the database accepts: read from its server, or derived from `template/database.yaml`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use doctor::pgbouncer;
use local::template::Stacks;
use shared::config::{Config, DatabaseUrl};
use shared::db::{Deadline, Pool};
use shared::health;

use super::{number, parameter_of};

/// The default `max_connections` of Aurora PostgreSQL Serverless v2 by its maximum capacity, as AWS documents it;
/// between two entries the lower one counts.
pub(super) const AURORA: [(f64, u64); 5] = [(1.0, 189), (4.0, 823), (8.0, 1_669), (16.0, 3_360), (32.0, 5_000)];

/// With a minimum capacity below 1, Aurora's default never exceeds this.
pub(super) const AURORA_BELOW_ONE: u64 = 2_000;

/// `superuser_reserved_connections` and `rds.rds_superuser_reserved_connections`, by default.
const AURORA_RESERVED: u64 = 3 + 2;

/// PostgreSQL's own defaults.
const DEFAULT: (u64, u64) = (100, 3);

/// The timeout for asking the database.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that a server has.
pub(super) struct Limit {
    /// `max_connections`.
    pub(super) max: u64,
    /// Connections that ordinary roles cannot use.
    pub(super) reserved: u64,
    /// Whether the limit was read from a server rather than the template.
    pub(super) asked: bool,
    /// Whether it is a pooler's, `max_client_conn`.
    pub(super) pooler: bool,
    /// Where the numbers come from.
    pub(super) source: String,
}

impl Limit {
    /// Returns the connections that functions can use.
    pub(super) fn usable(&self) -> u64 {
        self.max.saturating_sub(self.reserved)
    }

    /// Asks the database that DATABASE_URL names; returns `None` if it is not set. `needed`: the fleet's connections.
    ///
    /// # Errors
    /// Fails if DATABASE_URL is malformed or the database does not answer.
    pub(super) async fn asked(needed: u64) -> Result<Option<Self>> {
        #[expect(clippy::disallowed_methods, reason = "whether it is set; shared::config reads it")]
        if std::env::var_os("DATABASE_URL").is_none_or(|url| url.is_empty()) {
            return Ok(None);
        }
        let config = Config::from_env();
        let database = config.database?;
        if database.url.is_pooled() {
            return Self::of_pooler(&database.url, needed).await.map(Some);
        }
        let pool = Pool::new(&database, &config.lambda);
        let report = health::look(Ok(&pool), Deadline::after(QUERY_TIMEOUT)).await;
        let Some(server) = report.server else {
            bail!("cannot ask the database: {}", report.cause.unwrap_or_default());
        };
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let (max, reserved) = (count(server.connections_max), count(server.connections_reserved));
        let endpoint = database.url.endpoint();
        Ok(Some(Self {
            max,
            reserved,
            asked: true,
            pooler: false,
            source: format!(
                "asked from {endpoint}: max_connections {max}, {reserved} of them reserved; {} are taken now",
                server.connections_used
            ),
        }))
    }

    /// Asks the pooler that DATABASE_URL names: its clients take none of the server's slots.
    ///
    /// # Errors
    /// Fails if the role may not ask, or the pooler does not answer.
    async fn of_pooler(url: &DatabaseUrl, needed: u64) -> Result<Self> {
        let endpoint = url.endpoint();
        let limits = pgbouncer::limits(url, Deadline::after(QUERY_TIMEOUT))
            .await
            .with_context(|| {
                format!(
                    "the pooler at {endpoint} decides how many clients connect, and does not tell this role: {}. Its \
                 max_client_conn must be {needed} at least",
                    pgbouncer::permission(url)
                )
            })?;
        Ok(Self {
            max: limits.clients,
            reserved: 0,
            asked: true,
            pooler: true,
            source: format!(
                "asked from the pooler at {endpoint}: max_client_conn {}; each role shares default_pool_size {} \
                 connections to the server",
                limits.clients, limits.pool_size
            ),
        })
    }

    /// The limit of the cluster that is made, by its capacity; or PostgreSQL's default, for a database of the
    /// operator's own.
    ///
    /// # Errors
    /// A capacity that is no number, or below Aurora's least, or a least capacity above the most.
    pub(super) fn deployed(stacks: &Stacks, given: &BTreeMap<String, String>) -> Result<Self> {
        let Some(values) = stacks.deployment(given)?.database else {
            let (max, reserved) = DEFAULT;
            let source = format!(
                "PostgreSQL's default: max_connections {max}, {reserved} of them reserved; with DATABASE_URL set, the \
                 database is asked"
            );
            return Ok(Self {
                max,
                reserved,
                asked: false,
                pooler: false,
                source,
            });
        };
        let least = parameter_of(&values, "AuroraMinCapacity")?;
        let most = parameter_of(&values, "AuroraMaxCapacity")?;
        ensure!(
            least <= most,
            "AuroraMinCapacity, {least}, is above AuroraMaxCapacity, {most}"
        );
        let set = stacks
            .database
            .at("/Resources/ClusterParameters/Properties/Parameters/max_connections");
        let (max, between) = match number(&values.of(set)) {
            Some(set) => (set, String::new()),
            None => (
                aurora(least, most).context("AuroraMaxCapacity must be 1 at least")?,
                between(most),
            ),
        };
        Ok(Self {
            max,
            reserved: AURORA_RESERVED,
            asked: false,
            pooler: false,
            source: format!(
                "Aurora of {least} to {most} capacity units{between}: max_connections {max}, {AURORA_RESERVED} of them \
                 reserved"
            ),
        })
    }
}

/// Returns Aurora's `max_connections` for a capacity range.
pub(super) fn aurora(least: f64, most: f64) -> Option<u64> {
    let (_, max) = AURORA.into_iter().rfind(|(capacity, _)| *capacity <= most)?;
    Some(if least < 1.0 { max.min(AURORA_BELOW_ONE) } else { max })
}

/// Returns a note if AWS documents no default for a capacity, so that the next lower one counts.
fn between(most: f64) -> String {
    let lower = AURORA.into_iter().rfind(|(capacity, _)| *capacity <= most);
    match lower {
        Some((lower, _)) if lower < most && AURORA.into_iter().any(|(capacity, _)| capacity > most) => {
            format!(", counted like {lower}, for AWS documents no default between")
        }
        Some(_) | None => String::new(),
    }
}
