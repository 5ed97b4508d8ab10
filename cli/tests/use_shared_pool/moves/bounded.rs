use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;

async fn config() -> Result<String, sqlx::Error> {
    Ok("settings".to_owned())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = timeout(Duration::from_secs(5), PgPool::connect(&url)).await??;
    let (other, settings) = tokio::try_join!(PgPool::connect(&url), config())?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    sqlx::query("SELECT 1").execute(&other).await?;
    println!("{settings}");
    Ok(())
}
