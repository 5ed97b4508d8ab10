//! Checks the account and the region: which ones `aws` uses, and how many functions may run at once.

use serde_json::Value;

use super::Plan;
use super::aws::{ask, items};
use super::line::Line;
use crate::budget;

const ACCOUNT: &str = "account";
const CONCURRENCY: &str = "concurrency";

/// Where the deploy goes.
pub(super) struct Account {
    /// Twelve digits.
    pub(super) id: String,
    pub(super) region: String,
    /// The region's availability zones, in alphabetical order.
    pub(super) zones: Vec<String>,
}

impl Account {
    /// Asks for the account and the region that `aws` is configured for.
    ///
    /// # Errors
    /// The line of this check, if one of them is not known.
    pub(super) async fn find() -> Result<Self, Line> {
        let (identity, zones) = tokio::join!(
            ask(&["sts", "get-caller-identity"]),
            ask(&["ec2", "describe-availability-zones"])
        );
        let identity = identity.map_err(|failure| failure.line(ACCOUNT))?;
        let answer = zones.map_err(|failure| failure.line(ACCOUNT))?;
        let all = items(&answer, "AvailabilityZones");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let usable = all.iter().filter(|zone| zone["State"] == "available");
        let mut zones: Vec<_> = usable.filter_map(|zone| text(&zone["ZoneName"])).collect();
        zones.sort_unstable();
        let region = all.first().and_then(|zone| text(&zone["RegionName"]));
        match (text(&identity["Account"]), region) {
            (Some(id), Some(region)) => Ok(Self { id, region, zones }),
            _ => Err(Line::unknown(ACCOUNT, "aws names no account or no region".to_owned())),
        }
    }

    pub(super) fn line(&self) -> Line {
        Line::fine(ACCOUNT, format!("{} in {}", self.id, self.region))
    }
}

/// Checks whether the account may run as many functions at once as they reserve, and their connections fit.
pub(super) async fn concurrency(plan: &Plan<'_>) -> Line {
    let answer = match ask(&["lambda", "get-account-settings"]).await {
        Ok(answer) => answer,
        Err(failure) => return failure.line(CONCURRENCY),
    };
    let Some(quota) = answer["AccountLimit"]["ConcurrentExecutions"].as_u64() else {
        return Line::unknown(CONCURRENCY, "aws names no limit of the account".to_owned());
    };
    let sum = match budget::sum(plan.stacks, plan.given, quota) {
        Ok(sum) => sum,
        Err(error) => return Line::unknown(CONCURRENCY, format!("{error:#}")),
    };
    let needed = sum.reserved.saturating_add(budget::UNRESERVED);
    if sum.reserved > 0 && needed > quota {
        return Line::change(
            CONCURRENCY,
            format!(
                "the functions reserve {} concurrent executions, Lambda keeps {} unreserved, and the account has {quota}",
                sum.reserved,
                budget::UNRESERVED
            ),
            format!(
                "deploy with ReservedConcurrency=0, or have Service Quotas raise \"Concurrent executions\" of Lambda to \
                 {needed}"
            ),
        );
    }
    // Of a database of one's own the template does not know how many it has.
    if plan.deployment.database.is_some() && sum.needed > sum.usable {
        return Line::change(
            CONCURRENCY,
            format!(
                "{} connections do not fit into the database's {}",
                sum.needed, sum.usable
            ),
            format!("see what `cargo seer budget --account {quota}` suggests"),
        );
    }
    Line::fine(
        CONCURRENCY,
        format!(
            "the account has {quota}, of which the functions reserve {}",
            sum.reserved
        ),
    )
}
