//! `cargo seer migrate`: brings the schema of the database that `DATABASE_URL` names up to date.

use anyhow::{Context as _, Result};
use shared::config::Config;
use shared::db::migrate::migrate;

/// Applies what is pending and prints each migration it applied.
///
/// # Errors
/// A malformed `DATABASE_URL`, a database that cannot be reached within ten seconds, a migration that fails: one line.
pub(crate) async fn run() -> Result<()> {
    let url = Config::from_env().database?.url;
    let applied = migrate(&url, &functions::SERVICE).await.context("cannot migrate")?;
    for migration in &applied {
        println!("applied {migration}");
    }
    if applied.is_empty() {
        println!(
            "nothing to do: {}/{} has every migration",
            url.endpoint(),
            url.database()
        );
    }
    Ok(())
}
