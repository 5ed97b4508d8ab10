//! The roles that functions log in as: made, and given what they need and nothing more.
//!
//! For databases where a token stands in for the password (RDS): the roles have none, so nobody else can log in as them.
//! Elsewhere roles are the operator's, see docs/POSTGRES_SETUP.md. Safe to run again: after each migration it grants what
//! the new tables need.
//!
//! May not: run inside a route's function. Relies on `migrate` for the connection, whose role must be allowed to make
//! roles and must own the tables.

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use super::migrate::{Failure, open};
use crate::config::{DatabaseUrl, Roles};

/// Logging in with a token of AWS's instead of a password; only RDS has it.
const IAM: &str = "rds_iam";

/// Seeing other roles' sessions, and taking the slots kept back for that (from version 16).
const MONITORING: [&str; 2] = ["pg_monitor", "pg_use_reserved_connections"];

/// The longest a statement of the application may run when it asks for nothing shorter: the API's longest request.
const STATEMENT_TIMEOUT: &str = "30s";

/// A role as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// Its name.
    pub role: String,
    /// Whether this run made it.
    pub made: bool,
    /// The roles it is a member of now: those of the list that this server has and our role may grant.
    pub member_of: Vec<&'static str>,
}

/// Makes the roles that are not there, and grants: the application may read and write every table of the URL's schema
/// (else of `public`) but the migrations' own; monitoring sees all sessions and no table. In one transaction.
///
/// # Errors
/// See [`Failure`]; nothing is changed then.
pub async fn grant(url: &DatabaseUrl, roles: &Roles) -> Result<Vec<Granted>, Failure> {
    let mut granted = Vec::new();
    if roles.application.is_none() && roles.monitoring.is_none() {
        return Ok(granted);
    }
    let mut connection = open(url).await?;
    let mut transaction = connection.begin().await?;
    if let Some(name) = &roles.application {
        let role = role(&mut transaction, name, &[IAM]).await?;
        let schema = url.search_path().unwrap_or_else(|| "public".to_owned());
        let name = quoted(name);
        run(
            &mut transaction,
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {name}; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}; \
                 REVOKE ALL ON {schema}._sqlx_migrations FROM {name}; \
                 ALTER ROLE {name} SET statement_timeout = '{STATEMENT_TIMEOUT}'"
            ),
        )
        .await?;
        granted.push(role);
    }
    if let Some(name) = &roles.monitoring {
        granted.push(role(&mut transaction, name, &[&[IAM], MONITORING.as_slice()].concat()).await?);
    }
    transaction.commit().await?;
    let _ = connection.close().await;
    Ok(granted)
}

/// Sees to it that the role is there and a member of those of `groups` that this server has and we may grant.
async fn role(connection: &mut PgConnection, name: &str, groups: &[&'static str]) -> Result<Granted, sqlx::Error> {
    let exists = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
    let there: bool = sqlx::query_scalar(exists)
        .bind(name)
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        run(connection, format!("CREATE ROLE {} LOGIN", quoted(name))).await?;
    }
    let mut member_of = Vec::new();
    for group in groups {
        let mine = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 \
                    AND pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION'))";
        let mine: bool = sqlx::query_scalar(mine)
            .bind(group)
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
        if mine {
            run(connection, format!("GRANT {group} TO {}", quoted(name))).await?;
            member_of.push(*group);
        }
    }
    Ok(Granted {
        role: name.to_owned(),
        made: !there,
        member_of,
    })
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
