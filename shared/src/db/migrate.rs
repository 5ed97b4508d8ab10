//! The schema: forward-only SQL in `shared/migrations`, applied by `cargo seer migrate`, never at a cold start.
//!
//! Safe to run twice and twice at once: sqlx takes an advisory lock and remembers what was applied.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use crate::config::DatabaseUrl;

/// Every migration, compiled in.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Brings the schema up to date over a connection of its own, with no session limits, and returns the names of the
/// migrations it applied. Creates the URL's `schema` if it is not there.
///
/// # Errors
/// The connection's or the first failing migration's; each migration is applied whole or not at all.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, MigrateError> {
    let options = url.connect_options("seer migrate");
    #[expect(
        clippy::disallowed_methods,
        reason = "a migration may run for hours: no pool, no limits"
    )]
    let mut connection = PgConnection::connect_with(&options).await?;
    if let Some(schema) = url.search_path() {
        let sql = sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        sqlx::raw_sql(sql).execute(&mut connection).await?;
    }
    let before = applied(&mut connection).await?;
    MIGRATIONS.run_direct(None, &mut connection, false).await?;
    let names = MIGRATIONS
        .iter()
        .filter(|migration| !before.contains(&migration.version))
        .map(|migration| format!("{} {}", migration.version, migration.description))
        .collect();
    connection.close().await?;
    Ok(names)
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
