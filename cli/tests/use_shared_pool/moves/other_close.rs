//! Two things called `pool`: only one of them is PostgreSQL's.

use sqlx::PgPool;

struct Workers;

impl Workers {
    async fn close(&self) {
        println!("the workers are done");
    }
}

struct Database {
    pool: PgPool,
}

struct Background {
    pool: Workers,
}

impl Background {
    async fn stop(&self) {
        self.pool.close().await; // stays
    }
}

impl Database {
    async fn stop(&self) {
        self.pool.close().await;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let database = Database {
        pool: PgPool::connect(&std::env::var("DATABASE_URL")?).await?,
    };
    sqlx::query("SELECT 1").execute(&database.pool).await?;
    database.stop().await;
    Background { pool: Workers }.stop().await;
    Ok(())
}
