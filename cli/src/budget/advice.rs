//! Suggests changes if the sum does not fit. Each suggestion is sufficient on its own, which is verified first.

use std::collections::BTreeMap;

use anyhow::Result;
use local::template::Stacks;

use super::limit::{AURORA, Limit};
use super::need::Need;

/// The parameter that bounds the environments of each route.
const ENVIRONMENTS: &str = "ReservedConcurrency";

/// Returns the changes that would be sufficient, each on its own, the smallest first.
pub(super) fn what_to_change(
    stacks: &Stacks,
    given: &BTreeMap<String, String>,
    account: u64,
    limit: &Limit,
) -> Result<Vec<String>> {
    let deployment = stacks.deployment(given)?;
    let mut advice = Vec::new();
    let environments = deployment.functions.parameter(ENVIRONMENTS);
    if let Some(now) = environments.and_then(|text| text.parse().ok())
        && let Some(fits) = most_that_fits(stacks, given, account, limit, now)?
    {
        advice.push(format!("set {ENVIRONMENTS}={fits} (now {now})"));
    }
    let need = Need::of(stacks, given, account)?;
    let held = need.pool();
    let fewer = |pool: &u64| need.with_pool(*pool).sessions(limit) <= limit.usable();
    if let Some(pool) = (1..held.min(limit.usable())).rev().find(fewer) {
        advice.push(format!("a connection_limit of {pool} in DATABASE_URL (now {held})"));
    }
    let need = need.sessions(limit);
    if limit.pooler {
        advice.push(format!(
            "max_client_conn = {need} at least in pgbouncer.ini (now {})",
            limit.max
        ));
    } else if limit.asked {
        // The server exists already, so what the template would create is irrelevant.
        advice.push(format!(
            "raise that server's max_connections to at least {} (now {})",
            need.saturating_add(limit.reserved),
            limit.max
        ));
    } else if let Some(values) = &deployment.database {
        let least = super::parameter_of(values, "AuroraMinCapacity")?;
        let most = super::parameter_of(values, "AuroraMaxCapacity")?;
        for (capacity, _) in AURORA.into_iter().filter(|(capacity, _)| *capacity > most) {
            let larger = with(given, &[("AuroraMaxCapacity", capacity.to_string())]);
            let larger = Limit::deployed(stacks, &larger)?;
            if need <= larger.usable() {
                advice.push(format!("AuroraMaxCapacity={capacity} (now {most}, from {least})"));
                break;
            }
        }
        if !values.condition("Proxy") {
            let proxied = with(given, &[("UseRdsProxy", "true".to_owned())]);
            if Need::of(stacks, &proxied, account)?.sessions(limit) <= limit.usable() {
                advice.push("UseRdsProxy=true".to_owned());
            }
        }
    } else {
        advice.push(format!(
            "raise the server's max_connections to at least {} (now {})",
            need.saturating_add(limit.reserved),
            limit.max
        ));
    }
    if advice.is_empty() {
        advice.push("give the functions that have one a smaller ReservedConcurrentExecutions".to_owned());
    }
    Ok(advice)
}

/// The highest number of environments, below `now`, with which the sum fits. More environments never need fewer
/// connections, so a binary search finds it.
fn most_that_fits(
    stacks: &Stacks,
    given: &BTreeMap<String, String>,
    account: u64,
    limit: &Limit,
    now: u64,
) -> Result<Option<u64>> {
    let (mut fits, mut too_many) = (0, now);
    while too_many - fits > 1 {
        let tried = fits + (too_many - fits) / 2;
        let with = with(given, &[(ENVIRONMENTS, tried.to_string())]);
        if Need::of(stacks, &with, account)?.sessions(limit) <= limit.usable() {
            fits = tried;
        } else {
            too_many = tried;
        }
    }
    Ok(Some(fits).filter(|fits| *fits > 0))
}

fn with(given: &BTreeMap<String, String>, changed: &[(&str, String)]) -> BTreeMap<String, String> {
    let mut parameters = given.clone();
    let changed = changed.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    parameters.extend(changed);
    parameters
}
