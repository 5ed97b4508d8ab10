//! The migrations in the checkout's files, for tools that are built without the functions.

use std::path::Path;

use anyhow::{Context as _, Result};
use sqlx::migrate::Migrator;

/// Reads the engine's and the product's migrations of the checkout at `root`, in the order in which they are applied.
///
/// # Errors
/// Fails if a file cannot be read, or its name has no number.
pub async fn migrations(root: &Path) -> Result<Migrator> {
    let mut all = Vec::new();
    for folder in ["shared/migrations", "functions/migrations"] {
        let path = root.join(folder);
        let migrator = Migrator::new(path)
            .await
            .with_context(|| format!("cannot read {folder}"))?;
        all.extend(migrator.iter().cloned());
    }
    Ok(Migrator::with_migrations(all))
}
