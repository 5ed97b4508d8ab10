//! The connections that the functions of a template may open: environments × connections of each.
//!
//! Depends on: each function's limit in the template, which is `ReservedConcurrentExecutions`, or
//! `FunctionScalingConfig` on Managed Instances. The account's limit bounds the functions without one, all together.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use anyhow::{Context as _, Result, bail, ensure};
use local::template::{Function, Stacks, Values};
use serde_json::Value;

use super::limit::Limit;
use super::number;

/// Functions without a pool: each invocation opens one connection and closes it, so the environments of the version
/// before hold none.
const OPENS_ANEW: [&str; 2] = ["health", "migrations-run"];

/// The connections of all functions.
pub(super) struct Need {
    /// One row per function.
    pub(super) rows: Vec<Row>,
    /// The percentage of `max_connections` that RDS Proxy uses, if the functions connect through it.
    pub(super) proxy: Option<u64>,
}

/// One function.
#[derive(Clone)]
pub(super) struct Row {
    /// Its name, without the stack's.
    pub(super) function: String,
    /// The maximum number of execution environments.
    pub(super) environments: u64,
    /// The maximum number of connections per environment.
    pub(super) pool: u64,
    /// Reserved concurrency; on Managed Instances none.
    pub(super) reserved: u64,
    /// Whether the function connects through the proxy.
    pooled: bool,
    /// Whether its environments keep a connection between invocations.
    keeps: bool,
}

impl Row {
    /// Returns the maximum number of connections of all its environments.
    pub(super) fn connections(&self) -> u64 {
        self.environments.saturating_mul(self.pool)
    }

    fn overlap(&self) -> u64 {
        if self.keeps { self.connections() } else { 0 }
    }
}

impl Need {
    /// Computes the connections of a template's functions, in an account with this many concurrent executions.
    ///
    /// # Errors
    /// A parameter that is not there or not allowed, or no function.
    pub(super) fn of(stacks: &Stacks, given: &BTreeMap<String, String>, account: u64) -> Result<Self> {
        let deployment = stacks.deployment(given)?;
        let functions = stacks.functions.functions();
        ensure!(!functions.is_empty(), "the template has no function");
        let (mut rows, mut shared) = (Vec::new(), Vec::new());
        for function in &functions {
            match row(&deployment.functions, function)? {
                (row, Some(environments)) => rows.push(Row { environments, ..row }),
                (row, None) => shared.push(row),
            }
        }
        if !shared.is_empty() {
            let reserved = sum(rows.iter().map(|row| row.reserved));
            rows.push(Row {
                function: format!("{} that reserve none", shared.len()),
                environments: account.saturating_sub(reserved),
                pool: shared.iter().map(|row| row.pool).max().unwrap_or_default(),
                reserved: 0,
                pooled: shared.iter().any(|row| row.pooled),
                keeps: true,
            });
        }
        let targets = stacks.database.at("/Resources/DatabaseProxyTargets/Properties");
        let percent = number(&targets["ConnectionPoolConfigurationInfo"]["MaxConnectionsPercent"]);
        let proxied = deployment.database.is_some_and(|values| values.condition("Proxy"));
        Ok(Self {
            rows,
            proxy: percent.filter(|_| proxied),
        })
    }

    /// Returns the most connections that one environment of any function may hold.
    pub(super) fn pool(&self) -> u64 {
        self.rows.iter().map(|row| row.pool).max().unwrap_or_default()
    }

    /// Returns the same functions with at most `pool` connections per environment.
    pub(super) fn with_pool(&self, pool: u64) -> Self {
        let rows = self.rows.iter().map(|row| Row {
            pool: row.pool.min(pool),
            ..row.clone()
        });
        Self {
            rows: rows.collect(),
            proxy: self.proxy,
        }
    }

    /// Returns the reserved concurrency of all functions.
    pub(super) fn reserved(&self) -> u64 {
        sum(self.rows.iter().map(|row| row.reserved))
    }

    /// Returns the additional connections during a deploy: those of the previous environments.
    pub(super) fn overlap(&self) -> u64 {
        sum(self.rows.iter().map(Row::overlap))
    }

    /// Returns all connections, including those of a deploy.
    pub(super) fn connections(&self) -> u64 {
        sum(self.rows.iter().map(Row::connections)).saturating_add(self.overlap())
    }

    /// Returns the connections that reach the database: behind a proxy at most its share, however many the clients
    /// open.
    pub(super) fn sessions(&self, limit: &Limit) -> u64 {
        let Some(percent) = self.proxy else {
            return self.connections();
        };
        let of = |pooled: bool| {
            let rows = self.rows.iter().filter(move |row| row.pooled == pooled);
            sum(rows.flat_map(|row| [row.connections(), row.overlap()]))
        };
        of(false).saturating_add(of(true).min(limit.max.saturating_mul(percent) / 100))
    }
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// A function's row, and the limit of its environments, if it has one.
fn row(values: &Values, function: &Function) -> Result<(Row, Option<u64>)> {
    let id = &function.id;
    let properties = values.of(&function.properties);
    let reserved = whole(id, &properties, "ReservedConcurrentExecutions")?;
    let managed = &properties["CapacityProviderConfig"];
    let (environments, at_once) = if managed.is_null() {
        (reserved, Some(1))
    } else {
        (
            whole(id, &properties["FunctionScalingConfig"], "MaxExecutionEnvironments")?,
            whole(id, managed, "PerExecutionEnvironmentMaxConcurrency")?,
        )
    };
    let url = &properties["Environment"]["Variables"]["DATABASE_URL"];
    let binary = function.binary().unwrap_or(id);
    let keeps = !OPENS_ANEW.contains(&binary);
    // Two functions may be of one binary.
    let name = properties["FunctionName"].as_str();
    let name = name.and_then(|name| name.strip_prefix("${AWS::StackName}-"));
    let row = Row {
        function: name.unwrap_or(binary).to_owned(),
        environments: 0,
        pool: match url_parameter(url, "connection_limit") {
            _ if !keeps => 1,
            Some(limit) => limit
                .parse::<NonZeroU64>()
                .with_context(|| format!("{id}: connection_limit must be a whole number, 1 at least"))?
                .get(),
            None => at_once.with_context(|| format!("{id} has no PerExecutionEnvironmentMaxConcurrency: set it"))?,
        },
        reserved: reserved.unwrap_or_default(),
        pooled: url_parameter(url, "pgbouncer") == Some("true"),
        keeps,
    };
    Ok((row, environments))
}

/// Returns a function's property as a whole number, if it is there.
fn whole(id: &str, properties: &Value, name: &str) -> Result<Option<u64>> {
    let value = &properties[name];
    if let Some(parameter) = value["Ref"].as_str() {
        bail!("{id}: {name} is the parameter {parameter}, which has no default: give --param {parameter}=NUMBER");
    }
    let whole = number(value);
    ensure!(
        whole.is_some() || value.is_null(),
        "{id}: {name} is {value} and must be a whole number"
    );
    Ok(whole)
}

fn url_parameter<'a>(url: &'a Value, name: &str) -> Option<&'a str> {
    let (_, parameters) = url.as_str()?.split_once('?')?;
    let mut parameters = parameters.split('&').filter_map(|parameter| parameter.split_once('='));
    parameters.find(|(given, _)| *given == name).map(|(_, value)| value)
}
