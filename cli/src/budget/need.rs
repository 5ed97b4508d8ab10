//! What the functions of a template may open: environments × connections of each.
//!
//! Relies on a function's limit being in the template: `ReservedConcurrentExecutions`, or on Managed Instances
//! `FunctionScalingConfig`. A function without one is an error, because it has no bound but the account's.

use anyhow::{Context as _, Result};
use local::template::{Function, Template, Values};
use serde_json::Value;

use super::limit::Limit;
use super::number;

/// Functions that hold a connection only while they work: their environments of before have none.
const OPENS_ANEW: [&str; 2] = ["health", "migrations-run"];

/// All functions.
pub(super) struct Need {
    /// One a function.
    pub(super) rows: Vec<Row>,
    /// The percentage of `max_connections` that RDS Proxy takes, where it stands in between.
    pub(super) proxy: Option<u64>,
}

/// One function.
pub(super) struct Row {
    /// Its binary's name.
    pub(super) function: String,
    /// Execution environments there may be.
    pub(super) environments: u64,
    /// Connections one of them may hold.
    pub(super) pool: u64,
    /// Concurrent executions that Lambda keeps for it; on Managed Instances none.
    pub(super) reserved: u64,
    /// Whether they go through the proxy.
    pooled: bool,
}

impl Row {
    /// All that its environments may hold.
    pub(super) fn connections(&self) -> u64 {
        self.environments * self.pool
    }

    fn overlap(&self) -> u64 {
        if OPENS_ANEW.contains(&self.function.as_str()) {
            0
        } else {
            self.connections()
        }
    }
}

impl Need {
    /// The need of a template's functions.
    ///
    /// # Errors
    /// A function without a bound, named.
    pub(super) fn of(template: &Template, values: &Values) -> Result<Self> {
        let functions = template.functions();
        let rows = functions.iter().map(|function| row(values, function));
        let pool = template.at("/Resources/DatabaseProxyTargets/Properties/ConnectionPoolConfigurationInfo");
        Ok(Self {
            rows: rows.collect::<Result<_>>()?,
            proxy: number(&pool["MaxConnectionsPercent"]).filter(|_| values.condition("Proxy")),
        })
    }

    /// What a deploy adds: the environments of before.
    pub(super) fn overlap(&self) -> u64 {
        self.rows.iter().map(Row::overlap).sum()
    }

    /// All connections, of a deploy too.
    pub(super) fn connections(&self) -> u64 {
        self.rows.iter().map(Row::connections).sum::<u64>() + self.overlap()
    }

    /// Those of them that reach the database: behind a proxy no more than its share, whatever the clients open.
    pub(super) fn sessions(&self, limit: &Limit) -> u64 {
        let Some(percent) = self.proxy else {
            return self.connections();
        };
        let of = |pooled: bool| {
            let rows = self.rows.iter().filter(move |row| row.pooled == pooled);
            rows.map(|row| row.connections() + row.overlap()).sum::<u64>()
        };
        of(false) + of(true).min(limit.max * percent / 100)
    }
}

fn row(values: &Values, function: &Function) -> Result<Row> {
    let id = &function.id;
    let properties = values.of(&function.properties);
    let reserved = number(&properties["ReservedConcurrentExecutions"]);
    let managed = &properties["CapacityProviderConfig"];
    let (environments, at_once) = if managed.is_null() {
        (reserved, Some(1))
    } else {
        let scaling = &properties["FunctionScalingConfig"];
        (
            number(&scaling["MaxExecutionEnvironments"]),
            number(&managed["PerExecutionEnvironmentMaxConcurrency"]),
        )
    };
    let url = &properties["Environment"]["Variables"]["DATABASE_URL"];
    Ok(Row {
        function: function.binary().unwrap_or(id).to_owned(),
        environments: environments.with_context(|| {
            format!(
                "{id} has no bound: set ReservedConcurrentExecutions, or on Managed Instances MaxExecutionEnvironments"
            )
        })?,
        pool: match url_parameter(url, "connection_limit") {
            Some(limit) => limit
                .parse()
                .with_context(|| format!("{id}: connection_limit is no number"))?,
            None => at_once.with_context(|| format!("{id} has no PerExecutionEnvironmentMaxConcurrency: set it"))?,
        },
        reserved: reserved.unwrap_or_default(),
        pooled: url_parameter(url, "pgbouncer") == Some("true"),
    })
}

fn url_parameter<'a>(url: &'a Value, name: &str) -> Option<&'a str> {
    let (_, parameters) = url.as_str()?.split_once('?')?;
    let mut parameters = parameters.split('&').filter_map(|parameter| parameter.split_once('='));
    parameters.find(|(given, _)| *given == name).map(|(_, value)| value)
}
