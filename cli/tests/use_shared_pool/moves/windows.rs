#!/usr/bin/env run-cargo-script
use sqlx::PgPool;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let pool = PgPool::connect(&url).await?; // öffnen
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
