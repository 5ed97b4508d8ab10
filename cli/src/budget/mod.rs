//! `cargo seer budget`: checks whether the connections that the functions of `template.yaml` may open fit into the
//! database.
//!
//! Asks the database that DATABASE_URL names for its limit, if it is set; else `template/database.yaml` decides the
//! limit. Prints a table, and exits with 1 when it does not fit, after saying which number to change to what.

mod advice;
mod limit;
mod need;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use local::template::{Stacks, Values};

use crate::product;
use limit::Limit;
use need::Need;

/// Concurrent executions that an account has in a region by default; a new account can have fewer.
const QUOTA: u64 = 1_000;
/// Concurrent executions that Lambda keeps unreserved in every account.
pub(crate) const UNRESERVED: u64 = 100;

/// Adds up the connections that the functions of template.yaml may open, and whether the database has them
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The template, with template/database.yaml beside it [default: the checkout's template.yaml]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// A parameter of either template, as in sam deploy's --parameter-overrides; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Concurrent executions of the account; they bound the functions that reserve none
    #[arg(long, value_name = "NUMBER", default_value_t = QUOTA)]
    account: u64,
}

/// Splits `NAME=VALUE`.
pub(crate) fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it takes NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Returns the connections that the functions of the checkout's template.yaml may open at a server with `max`
/// connections.
///
/// # Errors
/// Fails if there is no checkout, or the template cannot be read.
pub(crate) async fn of_the_fleet(max: u64) -> Result<u64> {
    let stacks = Stacks::read(&product::checkout().await?.root.join("template.yaml"))?;
    let limit = Limit {
        max,
        reserved: 0,
        asked: false,
        pooler: false,
        source: String::new(),
    };
    Ok(Need::of(&stacks, &BTreeMap::new(), QUOTA)?.sessions(&limit))
}

/// The needs of the functions, and the cluster's limit.
pub(crate) struct Sum {
    /// Connections, including those of a deploy.
    pub(crate) needed: u64,
    /// The connections that the cluster has for them.
    pub(crate) usable: u64,
    /// Concurrent executions that the functions reserve.
    pub(crate) reserved: u64,
}

/// Adds up the connections and concurrent executions of a deploy with these parameters.
///
/// # Errors
/// Fails if a parameter is missing or not allowed.
pub(crate) fn sum(stacks: &Stacks, given: &BTreeMap<String, String>, account: u64) -> Result<Sum> {
    let need = Need::of(stacks, given, account)?;
    let limit = Limit::deployed(stacks, given)?;
    Ok(Sum {
        needed: need.sessions(&limit),
        usable: limit.usable(),
        reserved: need.reserved(),
    })
}

/// Prints the sum.
///
/// # Errors
/// Fails with one line if the template or a parameter cannot be read, the database does not answer, or the sum does not
/// fit.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let path = match arguments.template {
        Some(path) => path,
        None => product::checkout().await?.root.join("template.yaml"),
    };
    let stacks = Stacks::read(&path)?;
    let given: BTreeMap<_, _> = arguments.parameters.into_iter().collect();
    let need = Need::of(&stacks, &given, arguments.account)?;
    let limit = match Limit::asked(need.connections()).await? {
        Some(limit) => limit,
        None => Limit::deployed(&stacks, &given)?,
    };
    if limit.asked {
        outln!("DATABASE_URL is set: the server it names decides, not the one of template/database.yaml.");
    }
    print(&need, &limit, arguments.account);
    if need.sessions(&limit) <= limit.usable() {
        return Ok(());
    }
    let advice = advice::what_to_change(&stacks, &given, arguments.account, &limit)?;
    bail!(
        "{} connections do not fit into {}: {}",
        need.sessions(&limit),
        limit.usable(),
        advice.join(", or ")
    )
}

fn print(need: &Need, limit: &Limit, account: u64) {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["function", "environments", "connections each", "connections"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in &need.rows {
        let numbers = [row.environments, row.pool, row.connections()].map(|number| number.to_string());
        table.add_row([std::slice::from_ref(&row.function), numbers.as_slice()].concat());
    }
    let overlap = "a deploy's overlap".to_owned();
    table.add_row([overlap, String::new(), String::new(), need.overlap().to_string()]);
    outln!("{table}");
    outln!("During a deploy the previous version's environments stay alive, idle, and keep their connections.");
    let (all, sessions, usable) = (need.connections(), need.sessions(limit), limit.usable());
    if let Some(percent) = need.proxy {
        outln!("{all} connections of clients, which RDS Proxy serves with {percent}% of max_connections at most");
    }
    outln!("needed  {sessions}");
    outln!("usable  {usable}, {}", limit.source);
    if let Some(spare) = usable.checked_sub(sessions) {
        outln!("It fits, with {spare} to spare.");
    }
    let reserved = need.reserved();
    if reserved == 0 {
        return;
    }
    outln!(
        "Lambda reserves {reserved} concurrent executions for it, and keeps {UNRESERVED} of the account's for all other \
         functions."
    );
    let quota = reserved.saturating_add(UNRESERVED);
    if quota > account {
        outln!(
            "The account has {account} (--account): have Service Quotas raise \"Concurrent executions\" to {quota} at \
             least."
        );
    }
}

/// Returns a whole number of the template, which may be written as text.
fn number(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Returns a parameter that must be a number.
fn parameter_of(values: &Values, name: &str) -> Result<f64> {
    let text = values
        .parameter(name)
        .with_context(|| format!("the template has no parameter {name}"))?;
    let number: f64 = text.parse().with_context(|| format!("{name} is no number"))?;
    ensure!(number.is_finite(), "{name} is no number");
    Ok(number)
}
