use anyhow::{Context, Result};
use sqlx::{postgres::PgPoolOptions, PgPool};

pub async fn connect(database_url: &str, max: u32) -> Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(max)
        .connect(database_url)
        .await
        .context("cannot reach the database")
}

pub async fn plain(url: &str) -> Result<PgPool, sqlx::Error> {
    let pool = PgPool::connect(url).await?;
    tracing_like("connected");
    return Ok(pool);
}

pub async fn early(url: &str) -> Result<PgPool, sqlx::Error> {
    if url.is_empty() {
        return PgPool::connect_lazy("postgres://localhost/seer");
    }
    PgPool::connect(url).await
}

fn tracing_like(line: &str) {
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = connect(&url, 5).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    sqlx::query("SELECT 1").execute(&plain(&url).await?).await?;
    sqlx::query("SELECT 1").execute(&early(&url).await?).await?;
    Ok(())
}
