//! Builds the line that changes a setting: ALTER SYSTEM on a self-managed server, the provider's form elsewhere.
//!
//! A setting that a role or a database overrides is changed where it is overridden.

use super::Row;
use super::amount::in_units_of;
use crate::cause::quoted;
use crate::server::{Provider, Server};

/// Returns the line that sets the row to `value`, ready to run or paste; `None` if nothing can change it.
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
        // A value on the command line takes precedence over every file.
        Provider::SelfManaged if row.source == "command line" => Some(format!(
            "-- {name} is set on the server's command line: change it to -c {name}={value} there"
        )),
        Provider::SelfManaged => Some(format!("ALTER SYSTEM SET {name} = {sql};")),
        // No parameter group of Aurora has these; a role can set them for its sessions.
        Provider::Aurora if ["jit", "tcp_user_timeout"].contains(&name.as_str()) => {
            Some(format!("ALTER ROLE {role} SET {name} = {sql};"))
        }
        Provider::Aurora | Provider::Rds => Some(format!("{name}: \"{}\"", switch(&given))),
        Provider::CloudSql => Some(format!("{name}={given}")),
        Provider::Azure => Some(format!(
            "az postgres flexible-server parameter set -g GROUP -s SERVER -n {name} -v {given}"
        )),
        // Customers cannot change server-wide settings; a database can set the settings that a session can set.
        Provider::Neon | Provider::Supabase => {
            (row.context == "user").then(|| format!("ALTER DATABASE {database} SET {name} = {sql};"))
        }
    }
}

/// Writes numbers unquoted and everything else in quotes; each item of a list has its own quotes.
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

/// Converts a switch to a number, as parameter groups require.
fn switch(value: &str) -> &str {
    match value {
        "on" => "1",
        "off" => "0",
        other => other,
    }
}

/// Returns how the lines are used.
pub(super) fn note(provider: Provider) -> &'static str {
    match provider {
        Provider::SelfManaged => "in psql, as a superuser",
        Provider::Aurora | Provider::Rds => {
            "Parameters of the DB (cluster) parameter group, as in template/database.yaml"
        }
        Provider::CloudSql => {
            "--database-flags of `gcloud sql instances patch INSTANCE`, together with those already set"
        }
        Provider::Azure => "in a shell",
        Provider::Neon | Provider::Supabase => {
            "in psql, as the database's owner; server-wide settings are the provider's"
        }
    }
}

/// Returns how the server is restarted.
pub(super) fn restart(provider: Provider) -> &'static str {
    match provider {
        Provider::SelfManaged => "systemctl restart postgresql   # on the server",
        Provider::Aurora | Provider::Rds => "aws rds reboot-db-instance --db-instance-identifier INSTANCE",
        Provider::CloudSql => "gcloud sql instances restart INSTANCE",
        Provider::Azure => "az postgres flexible-server restart -g GROUP -n SERVER",
        Provider::Neon | Provider::Supabase => "restart it in the provider's console",
    }
}
