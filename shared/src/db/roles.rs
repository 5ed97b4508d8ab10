//! The roles that functions log in as: created with the privileges they need and no others.
//!
//! For databases where a token replaces the password (RDS): the roles have no password, so only token holders can log
//! in as them. On other databases the operator creates the roles, see docs/postgres/roles.md. Idempotent: after each
//! migration it grants the privileges on new tables.
//!
//! Invariants: never runs inside a route's function. Depends on: `migrate` for the connection, whose role must be
//! allowed to create roles and must own the tables, and the database to close it to other roles.

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use super::migrate::{MigrationError, commit, open};
use crate::config::{DatabaseUrl, Roles};
use crate::service::Service;

/// Allows logging in with an AWS token instead of a password; only RDS has it.
const IAM: &str = "rds_iam";

/// Allows reading other roles' sessions, and using the slots reserved for that (from version 16).
const MONITORING: [&str; 2] = ["pg_monitor", "pg_use_reserved_connections"];

/// The application's default `statement_timeout`: the API's longest request.
const STATEMENT_TIMEOUT: &str = "30s";

/// Recommended settings (docs/postgres/settings.md) that no parameter group of Aurora has. A session may set them, so the
/// roles bring them.
const OF_THE_ROLES: [(&str, &str); 2] = [("jit", "off"), ("tcp_user_timeout", "30s")];

/// The current state of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// Its name.
    pub role: String,
    /// Whether this run created it.
    pub made: bool,
    /// The roles it is a member of now: those of the list that this server has and allows this role to grant.
    pub member_of: Vec<&'static str>,
}

/// Creates missing roles, and grants privileges: the application may read and write every table of the URL's schema
/// (else of `public`) except the migrations' own, and may only add rows to `audit`; monitoring sees all sessions and no
/// table. In one transaction.
///
/// # Errors
/// See [`MigrationError`]; except with [`MigrationError::Unknown`], nothing is changed.
///
/// # Cancel safety
/// Dropping the future rolls back, unless COMMIT has been sent.
pub async fn grant(url: &DatabaseUrl, service: &Service, roles: &Roles) -> Result<Vec<Granted>, MigrationError> {
    let mut granted = Vec::new();
    if roles.application.is_none() && roles.monitoring.is_none() {
        return Ok(granted);
    }
    let mut connection = open(url, service).await?;
    let mut transaction = connection.begin().await?;
    if let Some(name) = &roles.application {
        let role = role(&mut transaction, name, &[IAM]).await?;
        let schema = url.search_path().unwrap_or_else(|| "public".to_owned());
        let name = quoted(name);
        for privileges in application_privileges(&schema, &name) {
            run(&mut transaction, privileges).await?;
        }
        run(
            &mut transaction,
            format!(
                "REVOKE ALL ON {schema}._sqlx_migrations FROM {name}; \
                 ALTER ROLE {name} SET statement_timeout = '{STATEMENT_TIMEOUT}'"
            ),
        )
        .await?;
        hide_values(&mut transaction, &name).await?;
        granted.push(role);
    }
    if let Some(name) = &roles.monitoring {
        let role = role(&mut transaction, name, &[&[IAM], MONITORING.as_slice()].concat()).await?;
        // For `sweep_receipts`, which every role that sees it may call.
        let schema = url.search_path().unwrap_or_else(|| "public".to_owned());
        run(
            &mut transaction,
            format!("GRANT USAGE ON SCHEMA {schema} TO {}", quoted(name)),
        )
        .await?;
        granted.push(role);
    }
    let names: Vec<_> = granted.iter().map(|granted| quoted(&granted.role)).collect();
    close_to_others(&mut transaction, &names.join(", ")).await?;
    // Before PostgreSQL 15, and in databases upgraded from there, every role may create tables in `public`. Without
    // effect if the schema belongs to another role.
    let schema = url.search_path().unwrap_or_else(|| "public".to_owned());
    run(
        &mut transaction,
        format!("REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"),
    )
    .await?;
    commit(transaction).await?;
    let _ = connection.close().await;
    Ok(granted)
}

/// Returns the statements that grant the application its privileges on a schema and its tables. Both names are as SQL
/// writes them. To `audit` it may add rows, and nothing else.
pub fn application_privileges(schema: &str, role: &str) -> [String; 4] {
    [
        format!("GRANT USAGE ON SCHEMA {schema} TO {role};"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"),
        format!("REVOKE ALL ON {schema}.audit FROM {role};"),
        format!("GRANT INSERT (request_id, actor, action, kind, row_id, version, status) ON {schema}.audit TO {role};"),
    ]
}

/// Lets only these roles, the owner and superusers connect, and none of them create temporary tables: PostgreSQL allows
/// both to every role of a new database. Without effect if the database belongs to another role.
async fn close_to_others(connection: &mut PgConnection, names: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "DO $do$ BEGIN \
         EXECUTE format('GRANT CONNECT ON DATABASE %I TO {names}', current_database()); \
         EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); \
         END $do$"
    );
    run(connection, sql).await
}

/// Keeps the values of the role's statements, which are the content of requests, out of the server's log. Only a role
/// that may set this parameter can do it: elsewhere the server's own setting decides, which `doctor` looks at.
async fn hide_values(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let mut attempt = connection.begin().await?;
    match run(
        &mut attempt,
        format!("ALTER ROLE {name} SET log_parameter_max_length = 0"),
    )
    .await
    {
        Ok(()) => attempt.commit().await,
        Err(cause) if is_not_allowed(&cause) => attempt.rollback().await,
        Err(cause) => Err(cause),
    }
}

/// Ensures that the role exists and is a member of those of `groups` that this server has and allows to be granted.
///
/// It tries instead of checking: on RDS, and before PostgreSQL 16, more roles can grant one than those with its admin
/// option. If [`IAM`] exists it must be granted, because otherwise it would be impossible to log in as the role.
async fn role(connection: &mut PgConnection, name: &str, groups: &[&'static str]) -> Result<Granted, sqlx::Error> {
    let there = exists(connection, name).await?;
    if !there {
        run(connection, format!("CREATE ROLE {} LOGIN", quoted(name))).await?;
    }
    for (setting, value) in OF_THE_ROLES {
        let set = format!("ALTER ROLE {} SET {setting} = '{value}'", quoted(name));
        run(connection, set).await?;
    }
    let mut member_of = Vec::new();
    for group in groups {
        if !exists(connection, group).await? {
            continue;
        }
        let mut attempt = connection.begin().await?;
        match run(&mut attempt, format!("GRANT {group} TO {}", quoted(name))).await {
            Ok(()) => {
                attempt.commit().await?;
                member_of.push(*group);
            }
            Err(cause) if *group != IAM && is_not_allowed(&cause) => attempt.rollback().await?,
            Err(cause) => return Err(cause),
        }
    }
    Ok(Granted {
        role: name.to_owned(),
        made: !there,
        member_of,
    })
}

async fn exists(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .persistent(false)
        .fetch_one(connection)
        .await
}

/// SQLSTATE insufficient_privilege.
fn is_not_allowed(cause: &sqlx::Error) -> bool {
    let code = cause.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("42501")
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
