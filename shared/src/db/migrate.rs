//! The schema: the engine's migrations, then the product's: forward-only SQL that is never applied at a cold start.
//!
//! The engine's first is number 0, before any of a product's. All pending migrations are applied in one transaction,
//! under a lock that ends with it: all or nothing, safe to run repeatedly and concurrently, also through a transaction
//! pooler. So a migration cannot contain statements that PostgreSQL does not allow in transactions; an index that must
//! be built `CONCURRENTLY` is built manually first, and the migration uses `IF NOT EXISTS`.
//!
//! Invariants: never runs inside a function that serves a route. Depends on: `connect` for the connection, and sqlx for
//! the list of applied migrations.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use super::classify::{Verdict, kind_of, verdict};
use super::connect::{self, Purpose, Unfinished};
use super::deadline::Deadline;
use super::error::Error;
use super::kind::{Kind, Phase};
use super::target::Target;
use crate::config::{DatabaseUrl, RetryConfig};
use crate::service::Service;

/// How long connecting is retried at a server that refuses, starts or does not answer; a longer `pool_timeout` extends
/// it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long another run on the same database is awaited.
const OTHER_RUN: &str = "10min";

/// How long a statement waits for a table lock. All other users of that table queue behind it, and a function gives up
/// after 26 s.
const TABLE_LOCK: &str = "10s";

/// Why the migration failed. The database is unchanged, with one exception.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// No connection within ten seconds, or one to a server that rejects writes.
    #[error("{0}")]
    Connect(Error),
    /// Another run has held the lock for ten minutes.
    #[error("another migration has been running on this database for {OTHER_RUN}: wait for its end, or stop it")]
    Locked,
    /// The database's encoding cannot store every text.
    #[error(
        "the database's encoding is {0}, and text of clients needs UTF8: make another with CREATE DATABASE … ENCODING \
         'UTF8' TEMPLATE template0, and name it in DATABASE_URL; nothing was applied"
    )]
    Encoding(String),
    /// A statement failed. The message is the server's: for the operator.
    #[error("{0}; nothing was applied")]
    Statement(sqlx::Error),
    /// COMMIT was sent, and the connection was lost before its reply: everything was applied, or nothing.
    #[error("{0}; whether it was applied is not known: run it again, which leaves alone what is there")]
    Unknown(sqlx::Error),
    /// A migration failed, or the applied ones differ from those of this build.
    #[error("{}", explain(.0))]
    Migration(MigrateError),
}

impl From<sqlx::Error> for MigrationError {
    fn from(cause: sqlx::Error) -> Self {
        Self::Statement(cause)
    }
}

fn explain(error: &MigrateError) -> String {
    if let MigrateError::VersionMissing(version) = error {
        return format!("the database has migration {version}, which this build does not: it is older than the schema");
    }
    if let MigrateError::VersionMismatch(version) = error {
        return format!("migration {version} was changed after it was applied: undo that, and write a new one");
    }
    if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = error
        && cause.as_database_error().and_then(|error| error.code()).as_deref() == Some("3F000")
    {
        return "this role's search_path has no schema to create the tables in: ALTER ROLE … SET search_path = public, or \
                schema= in DATABASE_URL; nothing was applied"
            .to_owned();
    }
    format!("{error}; nothing was applied")
}

/// Returns the engine's migrations and those of the service, in the order in which they are applied.
pub fn migrations(service: &Service) -> Migrator {
    let engine = sqlx::migrate!("./migrations");
    let product = service.migrations.map(Migrator::iter).unwrap_or_default();
    Migrator::with_migrations(engine.iter().chain(product).cloned().collect())
}

/// Applies pending migrations and returns the names of those that this run applied. Creates the URL's `schema` if it
/// does not exist. Connecting, and each wait for a table lock, is limited to ten seconds; the statements are not
/// limited.
///
/// # Errors
/// See [`MigrationError`]; except with [`MigrationError::Unknown`], nothing is applied.
///
/// # Cancel safety
/// Dropping the future, or losing the process, rolls back, unless COMMIT has been sent.
pub async fn migrate(url: &DatabaseUrl, service: &Service) -> Result<Vec<String>, MigrationError> {
    let mut connection = open(url, service).await?;
    let mut transaction = connection.begin().await?;
    alone(&mut transaction, url, service).await?;
    let before = applied(&mut transaction).await?;
    let mut migrations = migrations(service);
    // The lock of this module is held already, and ends with the transaction: a pooler would keep sqlx's.
    migrations.set_locking(false);
    migrations
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(MigrationError::Migration)?;
    // Statements that sqlx has prepared must not stay on a pooler's connection for the next client.
    sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *transaction).await?;
    commit(transaction).await?;
    let _ = connection.close().await;
    let names = migrations
        .iter()
        .filter(|migration| !before.contains(&migration.version))
        .map(|migration| format!("{:04} {}", migration.version, migration.description))
        .collect();
    Ok(names)
}

/// Runs a script on a migrated database, in one transaction, and never concurrently with [`migrate`].
///
/// # Errors
/// See [`MigrationError`]; except with [`MigrationError::Unknown`], nothing is applied.
///
/// # Cancel safety
/// As [`migrate`].
pub async fn seed(url: &DatabaseUrl, service: &Service, script: &'static str) -> Result<(), MigrationError> {
    let mut connection = open(url, service).await?;
    let mut transaction = connection.begin().await?;
    alone(&mut transaction, url, service).await?;
    sqlx::raw_sql(script).execute(&mut *transaction).await?;
    commit(transaction).await?;
    let _ = connection.close().await;
    Ok(())
}

pub(super) async fn open(url: &DatabaseUrl, service: &Service) -> Result<PgConnection, MigrationError> {
    let retry = RetryConfig {
        max_attempts: 1, // Of statements, which are not retried here.
        base_delay: Duration::from_millis(50),
    };
    let target = Target::new(url, &format!("{} migrate", service.name));
    let timeout = url.pool_timeout().unwrap_or_default().max(CONNECT_TIMEOUT);
    let (deadline, unfinished) = (Deadline::after(timeout), Unfinished::default());
    let connection = connect::connect_with_retry(&target, Purpose::Write, &retry, deadline, &unfinished).await;
    Ok(connection.map_err(MigrationError::Connect)?.session.connection)
}

/// Commits, and distinguishes an error of the server from a lost reply.
pub(super) async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), MigrationError> {
    let committed = transaction.commit().await;
    committed.map_err(|cause| match verdict(Phase::Commit, kind_of(&cause), true) {
        Verdict::Ambiguous => MigrationError::Unknown(cause),
        Verdict::Transient | Verdict::Reconnect | Verdict::ReconnectOnce | Verdict::Permanent => {
            MigrationError::Statement(cause)
        }
    })
}

/// Acquires the lock, removes the limits of a function's session, and creates the schema: for this transaction only.
async fn alone(transaction: &mut PgConnection, url: &DatabaseUrl, service: &Service) -> Result<(), MigrationError> {
    let lock = service.migration_lock();
    let begin = format!(
        "DEALLOCATE ALL; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
         SELECT set_config('transaction_timeout', '0', true) \
         WHERE current_setting('server_version_num')::int4 >= 170000; SET LOCAL lock_timeout = '{OTHER_RUN}'; SELECT pg_advisory_xact_lock({lock}); \
         SET LOCAL lock_timeout = '{TABLE_LOCK}'"
    );
    if let Err(cause) = sqlx::raw_sql(sqlx::AssertSqlSafe(begin))
        .execute(&mut *transaction)
        .await
    {
        let locked = kind_of(&cause) == Kind::LockTimeout;
        return Err(if locked { MigrationError::Locked } else { cause.into() });
    }
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(&mut *transaction)
        .await?;
    if encoding != "UTF8" {
        return Err(MigrationError::Encoding(encoding));
    }
    let Some(schema) = url.search_path() else { return Ok(()) };
    // Not IF NOT EXISTS, which requires the right to create even if the schema exists.
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(&schema)
        .fetch_one(&mut *transaction)
        .await?;
    let create = if there {
        String::new()
    } else {
        format!("CREATE SCHEMA {schema};")
    };
    let sql = sqlx::AssertSqlSafe(format!("{create} SET LOCAL search_path = {schema}"));
    sqlx::raw_sql(sql).execute(&mut *transaction).await?;
    Ok(())
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(connection)
        .await
}
