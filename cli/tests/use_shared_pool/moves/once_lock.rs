use std::sync::OnceLock;

use sqlx::PgPool;

static POOL: OnceLock<PgPool> = OnceLock::new();

fn pool() -> &'static PgPool {
    POOL.get().expect("main sets it")
}

async fn count() -> Result<i64, sqlx::Error> {
    let mut tx = POOL.get().unwrap().begin().await?;
    let n = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(n)
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let made = PgPool::connect(&url).await?;
    // Everything else takes it from there.
    POOL.set(made).expect("set once");

    println!("{}", count().await?);
    sqlx::query("SELECT 1").execute(pool()).await?;
    Ok(())
}
