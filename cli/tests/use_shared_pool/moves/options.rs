use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::PgPoolOptions;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL")?;
    let pool = PgPoolOptions::new()
        .max_connections(5)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(3))
        .connect(&url)
        .await
        .context("could not connect")?;
    sqlx::query("DELETE FROM idempotency_keys WHERE expires_at < now()")
        .execute(&pool)
        .await?;
    Ok(())
}
