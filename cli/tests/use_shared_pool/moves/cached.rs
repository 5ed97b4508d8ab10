//! A cache that does without a cell: the static stays, its type changes.

use sqlx::PgPool;
use tokio::sync::Mutex;

static CACHED: Mutex<Option<PgPool>> = Mutex::const_new(None);

async fn pool() -> sqlx::Result<PgPool> {
    let mut cached = CACHED.lock().await;
    if let Some(pool) = &*cached {
        return Ok(pool.clone());
    }
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    *cached = Some(pool.clone());
    Ok(pool)
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(&pool().await?).await?;
    Ok(())
}
