//! Says which number to change to what if the sum does not fit. Each suggestion is sufficient on its own; this is
//! verified here first.

use std::collections::BTreeMap;

use anyhow::Result;
use local::template::{Template, Values};

use super::limit::{AURORA, Limit};
use super::need::Need;

/// Returns the sufficient changes, the mildest first.
pub(super) fn what_to_change(
    template: &Template,
    given: &BTreeMap<String, String>,
    limit: &Limit,
) -> Result<Vec<String>> {
    let values = Values::new(template, given)?;
    let mut advice = Vec::new();
    // The second parameter replaces the first on Managed Instances.
    for name in ["ReservedConcurrency", "MaxEnvironments"] {
        let Some(now) = values.parameter(name).and_then(|text| text.parse().ok()) else {
            continue;
        };
        if let Some(fits) = most_that_fits(template, given, limit, name, now)? {
            advice.push(format!("set {name}={fits} (now {now})"));
        }
    }
    let need = Need::of(template, &values)?;
    let held = need.pool();
    let fewer = |pool: &u64| need.with_pool(*pool).sessions(limit) <= limit.usable();
    if let Some(pool) = (1..held.min(limit.usable())).rev().find(fewer) {
        advice.push(format!("a connection_limit of {pool} in DATABASE_URL (now {held})"));
    }
    let need = need.sessions(limit);
    if limit.asked {
        // The server exists already, so what the template would create is irrelevant.
        advice.push(format!(
            "raise that server's max_connections to at least {} (now {})",
            need.saturating_add(limit.reserved),
            limit.max
        ));
    } else if values.condition("Aurora") {
        let least = super::parameter_of(&values, "AuroraMinCapacity")?;
        let most = super::parameter_of(&values, "AuroraMaxCapacity")?;
        for (capacity, _) in AURORA.into_iter().filter(|(capacity, _)| *capacity > most) {
            let larger = with(given, &[("AuroraMaxCapacity", capacity.to_string())]);
            let larger = Limit::deployed(template, &Values::new(template, &larger)?)?;
            if need <= larger.usable() {
                advice.push(format!("AuroraMaxCapacity={capacity} (now {most}, from {least})"));
                break;
            }
        }
        if !values.condition("Proxy") {
            let proxied = with(given, &[("UseRdsProxy", "true".to_owned())]);
            let proxied = Values::new(template, &proxied)?;
            if Need::of(template, &proxied)?.sessions(limit) <= limit.usable() {
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

/// Returns the highest value of a parameter, below `now`, with which the sum fits. More environments never need fewer
/// connections, so a binary search works.
fn most_that_fits(
    template: &Template,
    given: &BTreeMap<String, String>,
    limit: &Limit,
    name: &str,
    now: u64,
) -> Result<Option<u64>> {
    let (mut fits, mut too_many) = (0, now);
    while too_many - fits > 1 {
        let tried = fits + (too_many - fits) / 2;
        let with = with(given, &[(name, tried.to_string())]);
        if Need::of(template, &Values::new(template, &with)?)?.sessions(limit) <= limit.usable() {
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
