pub use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::shared::Settings;

pub static STARTED: &str = "started";

/// Everybody's pool.
pub async fn connect(settings: &Settings) -> anyhow::Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .connect(&settings.database_url)
        .await?;
    Ok(pool)
}
