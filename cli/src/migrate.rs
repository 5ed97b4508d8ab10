//! `cargo seer migrate`: applies pending migrations to the database that `DATABASE_URL` names.

use anyhow::{Context as _, Result};
use shared::config::Config;
use shared::db::migrate::migrate;

/// Applies pending migrations and prints each of them.
///
/// # Errors
/// Fails with one line: a malformed `DATABASE_URL`, a database that cannot be reached within ten seconds, a migration
/// that fails.
pub(crate) async fn run() -> Result<()> {
    let url = Config::from_env().database?.url;
    let applied = migrate(&url, &functions::SERVICE).await.context("cannot migrate")?;
    for migration in &applied {
        outln!("applied {migration}");
    }
    if applied.is_empty() {
        outln!(
            "nothing to do: {}/{} has every migration",
            url.endpoint(),
            url.database()
        );
    }
    Ok(())
}
