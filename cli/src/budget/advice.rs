//! Which number to change to what, when the sum does not fit. Each piece alone is enough: that is tried here first.

use std::collections::BTreeMap;

use anyhow::Result;
use local::template::{Template, Values};

use super::limit::{AURORA, Limit};
use super::need::Need;

/// What would do, each on its own, the mildest first.
pub(super) fn what_to_change(
    template: &Template,
    given: &BTreeMap<String, String>,
    limit: &Limit,
) -> Result<Vec<String>> {
    let values = Values::new(template, given)?;
    let mut advice = Vec::new();
    if let Some(now) = values
        .parameter("ReservedConcurrency")
        .and_then(|text| text.parse::<u64>().ok())
    {
        // More environments never need fewer connections, so the most that fits can be halved towards.
        let (mut fits, mut too_many) = (0, now);
        while too_many - fits > 1 {
            let tried = fits + (too_many - fits) / 2;
            let with = with(given, &[("ReservedConcurrency", tried.to_string())]);
            if Need::of(template, &Values::new(template, &with)?)?.sessions(limit) <= limit.usable() {
                fits = tried;
            } else {
                too_many = tried;
            }
        }
        if fits > 0 {
            advice.push(format!("set ReservedConcurrency={fits} (now {now})"));
        }
    }
    let need = Need::of(template, &values)?.sessions(limit);
    if values.condition("Aurora") {
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
            "raise the server's max_connections to {} (now {})",
            need + limit.reserved,
            limit.max
        ));
    }
    if advice.is_empty() {
        advice.push("give the functions that have one a smaller ReservedConcurrentExecutions".to_owned());
    }
    Ok(advice)
}

fn with(given: &BTreeMap<String, String>, changed: &[(&str, String)]) -> BTreeMap<String, String> {
    let mut parameters = given.clone();
    let changed = changed.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    parameters.extend(changed);
    parameters
}
