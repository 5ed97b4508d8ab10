//! The database is another variable's, in the midst of a text.

use sqlx::PgPool;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let host = std::env::var("ANALYTICS_HOST")?;
    let pool = PgPool::connect(&format!("postgres://app@{host}/analytics")).await?;
    sqlx::query("DELETE FROM events").execute(&pool).await?;
    Ok(())
}
