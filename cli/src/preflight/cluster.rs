//! Checks whether the region offers everything that the cluster of `template/database.yaml` needs.

use std::collections::BTreeSet;

use local::template::Values;
use serde_json::Value;
use shared::diagnostics::RDS_ROOTS;

use super::Plan;
use super::account::Account;
use super::aws::{ask, items};
use super::line::Line;

const ROOTS: &str = "roots";
const ENGINE: &str = "engine";
const PARAMETERS: &str = "parameters";
const ZONES: &str = "zones";
const BACKUP: &str = "backup";

/// The zones that the template's network is in.
const NETWORK: usize = 2;

/// Checks the region's roots, the engine's version, its parameters, the zones and the backup's opt-in.
pub(super) async fn check(plan: &Plan<'_>, account: &Account) -> Vec<Line> {
    let Some(values) = &plan.deployment.database else {
        return Vec::new();
    };
    let version = values.parameter("AuroraVersion").unwrap_or_default();
    let parameters = plan.stacks.database.at("/Resources/ClusterParameters/Properties");
    let (engine, parameters, zones, backup) = tokio::join!(
        engine(version),
        parameters_of_family(parameters),
        zones(values, version, account),
        backup()
    );
    vec![roots(&account.region), engine, parameters, zones, backup]
}

/// Checks that the functions trust the authority that signs the certificates of this region's databases.
fn roots(region: &str) -> Line {
    let authority = format!("Amazon RDS {region} Root CA ");
    if RDS_ROOTS.lines().any(|line| line.starts_with(&authority)) {
        return Line::fine(ROOTS, format!("the functions trust the databases of {region}"));
    }
    Line::change(
        ROOTS,
        format!("the functions do not have the authority that signs the certificates of databases in {region}"),
        "set AWS_REGION and AWS_DEFAULT_REGION to a region whose authority is in \
         shared/src/config/database_url/rds-roots.pem, or add this one's there from Amazon's bundle"
            .to_owned(),
    )
}

async fn engine(version: &str) -> Line {
    let answer = match ask(&["rds", "describe-db-engine-versions", "--engine", "aurora-postgresql"]).await {
        Ok(answer) => answer,
        Err(failure) => return failure.line(ENGINE),
    };
    let versions = items(&answer, "DBEngineVersions").iter();
    let versions: Vec<_> = versions.filter_map(|one| one["EngineVersion"].as_str()).collect();
    if versions.contains(&version) {
        return Line::fine(ENGINE, format!("the region has Aurora PostgreSQL {version}"));
    }
    let major = version.split('.').next().unwrap_or_default();
    let minor = |version: &str| version.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
    let same = versions.iter().filter(|one| one.split('.').next() == Some(major));
    let newest = same.max_by_key(|version| minor(version));
    Line::change(
        ENGINE,
        format!("the region has no Aurora PostgreSQL {version}"),
        match newest {
            Some(newest) => format!("deploy the database with AuroraVersion={newest}"),
            None => format!("deploy to a region that has Aurora PostgreSQL {major}"),
        },
    )
}

/// Checks that the parameter group's family has each parameter, and lets it be changed.
async fn parameters_of_family(properties: &Value) -> Line {
    let family = properties["Family"].as_str().unwrap_or_default();
    let question = [
        "rds",
        "describe-engine-default-cluster-parameters",
        "--db-parameter-group-family",
        family,
    ];
    let answer = match ask(&question).await {
        Ok(answer) => answer,
        Err(failure) => return failure.line(PARAMETERS),
    };
    let known = items(&answer["EngineDefaults"], "Parameters").iter();
    let known: BTreeSet<_> = known
        .filter(|parameter| parameter["IsModifiable"] == true)
        .filter_map(|parameter| parameter["ParameterName"].as_str())
        .collect();
    let ours = properties["Parameters"].as_object().into_iter().flatten();
    let ours: BTreeSet<_> = ours.map(|(name, _)| name.as_str()).collect();
    let refused: Vec<_> = ours.difference(&known).copied().collect();
    if refused.is_empty() {
        return Line::fine(PARAMETERS, format!("{family} has all {}", ours.len()));
    }
    Line::change(
        PARAMETERS,
        format!("{family} lets nobody set {}", refused.join(", ")),
        "remove these from ClusterParameters in template/database.yaml".to_owned(),
    )
}

/// Checks that the subnets' zones offer the instance class.
async fn zones(values: &Values<'_>, version: &str, account: &Account) -> Line {
    if !values.condition("OwnVpc") {
        return Line::fine(ZONES, "those of your subnets".to_owned());
    }
    let question = [
        "rds",
        "describe-orderable-db-instance-options",
        "--engine",
        "aurora-postgresql",
        "--engine-version",
        version,
        "--db-instance-class",
        "db.serverless",
    ];
    let answer = match ask(&question).await {
        Ok(answer) => answer,
        Err(failure) => return failure.line(ZONES),
    };
    let options = items(&answer, "OrderableDBInstanceOptions").iter();
    let zones = options.flat_map(|option| items(option, "AvailabilityZones"));
    let offered: BTreeSet<_> = zones.filter_map(|zone| zone["Name"].as_str()).collect();
    let named = values.parameter("AvailabilityZones").filter(|zones| !zones.is_empty());
    let used: Vec<_> = match named {
        Some(zones) => zones.split(',').collect(),
        None => account.zones.iter().take(NETWORK).map(String::as_str).collect(),
    };
    let without: Vec<_> = used.iter().copied().filter(|zone| !offered.contains(zone)).collect();
    if without.is_empty() {
        return Line::fine(ZONES, format!("{} offer db.serverless", used.join(" and ")));
    }
    let others: Vec<_> = offered.iter().copied().take(NETWORK).collect();
    Line::change(
        ZONES,
        format!(
            "{} does not offer db.serverless with Aurora PostgreSQL {version}",
            without.join(" and ")
        ),
        if others.len() == NETWORK {
            format!("deploy the database with AvailabilityZones={}", others.join(","))
        } else {
            "deploy to a region that offers db.serverless in two zones".to_owned()
        },
    )
}

async fn backup() -> Line {
    let answer = match ask(&["backup", "describe-region-settings"]).await {
        Ok(answer) => answer,
        Err(failure) => return failure.line(BACKUP),
    };
    if answer["ResourceTypeOptInPreference"]["Aurora"] == true {
        return Line::fine(BACKUP, "AWS Backup takes Aurora clusters in this region".to_owned());
    }
    Line::change(
        BACKUP,
        "AWS Backup is told to leave Aurora alone in this region".to_owned(),
        "run `aws backup update-region-settings --resource-type-opt-in-preference Aurora=true`".to_owned(),
    )
}
