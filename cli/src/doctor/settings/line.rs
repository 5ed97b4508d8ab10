//! The line that changes a setting: by ALTER SYSTEM on a server of one's own, as the provider takes it elsewhere.
//!
//! A setting that a role or a database overrides is changed where it is overridden.

use super::Row;
use super::amount::in_units_of;
use crate::doctor::cause::quoted;
use crate::doctor::server::{Provider, Server};

/// What changes the row to `value`, to be run or pasted as it stands; none where nothing can.
pub(super) fn change(server: &Server, row: &Row, value: &str) -> Option<String> {
    let (name, sql) = (&row.name, literal(value));
    let (role, database) = (quoted(&server.role), quoted(&server.database));
    match row.source.as_str() {
        "user" => return Some(format!("ALTER ROLE {role} SET {name} = {sql};")),
        "database" => return Some(format!("ALTER DATABASE {database} SET {name} = {sql};")),
        "database user" => return Some(format!("ALTER ROLE {role} IN DATABASE {database} SET {name} = {sql};")),
        _ => {}
    }
    let given = in_units_of(row, value);
    match server.provider {
        // A value on the command line wins over every file.
        Provider::SelfManaged if row.source == "command line" => Some(format!(
            "-- {name} stands on the server's command line: make it -c {name}={value} there"
        )),
        Provider::SelfManaged => Some(format!("ALTER SYSTEM SET {name} = {sql};")),
        Provider::Aurora | Provider::Rds => Some(format!("{name}: \"{}\"", switch(&given))),
        Provider::CloudSql => Some(format!("{name}={given}")),
        Provider::Azure => Some(format!(
            "az postgres flexible-server parameter set -g GROUP -s SERVER -n {name} -v {given}"
        )),
        // No server-wide settings for customers; a database may set what a session could.
        Provider::Neon | Provider::Supabase => {
            (row.context == "user").then(|| format!("ALTER DATABASE {database} SET {name} = {sql};"))
        }
    }
}

/// Numbers stand for themselves, everything else in quotes; a list's items each in their own.
fn literal(value: &str) -> String {
    if value.parse::<f64>().is_ok() || ["on", "off"].contains(&value) {
        return value.to_owned();
    }
    let items: Vec<String> = value
        .split(',')
        .map(|item| format!("'{}'", item.trim().replace('\'', "''")))
        .collect();
    items.join(", ")
}

/// Parameter groups write switches as numbers.
fn switch(value: &str) -> &str {
    match value {
        "on" => "1",
        "off" => "0",
        other => other,
    }
}

/// How the lines are used.
pub(super) fn note(provider: Provider) -> &'static str {
    match provider {
        Provider::SelfManaged => "in psql, as a superuser",
        Provider::Aurora | Provider::Rds => "Parameters of the DB (cluster) parameter group, as in template.yaml",
        Provider::CloudSql => {
            "--database-flags of `gcloud sql instances patch INSTANCE`, together with those already set"
        }
        Provider::Azure => "in a shell",
        Provider::Neon | Provider::Supabase => {
            "in psql, as the database's owner; server-wide settings are the provider's"
        }
    }
}

/// How the server is restarted.
pub(super) fn restart(provider: Provider) -> &'static str {
    match provider {
        Provider::SelfManaged => "systemctl restart postgresql   # on the server",
        Provider::Aurora | Provider::Rds => "aws rds reboot-db-instance --db-instance-identifier INSTANCE",
        Provider::CloudSql => "gcloud sql instances restart INSTANCE",
        Provider::Azure => "az postgres flexible-server restart -g GROUP -n SERVER",
        Provider::Neon | Provider::Supabase => "restart it in the provider's console",
    }
}
