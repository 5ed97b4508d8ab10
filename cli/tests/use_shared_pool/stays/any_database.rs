//! A repository for any database.

use sqlx::{Database, PgPool, Pool, Postgres};

struct Repository<DB: Database> {
    pool: Pool<DB>,
}

impl Repository<Postgres> {
    async fn one(&self) -> sqlx::Result<i32> {
        sqlx::query_scalar("SELECT 1").fetch_one(&self.pool).await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    println!("{}", Repository { pool }.one().await?);
    Ok(())
}
