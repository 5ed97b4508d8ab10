//! A script: one pool, opened first thing.

use std::env;

use sqlx::{PgPool, Row};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let database_url = env::var("DATABASE_URL")?;
    // One pool for the whole run.
    let pool = PgPool::connect(&database_url).await?;

    let row = sqlx::query("SELECT count(*) AS n FROM meetings").fetch_one(&pool).await?;
    println!("{} meetings", row.try_get::<i64, _>("n")?);
    Ok(())
}
