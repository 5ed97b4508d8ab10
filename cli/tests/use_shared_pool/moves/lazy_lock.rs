use std::sync::LazyLock;

use sqlx::postgres::{PgPool, PgPoolOptions};

static POOL: LazyLock<PgPool> = LazyLock::new(|| {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    PgPoolOptions::new()
        .max_connections(4)
        .connect_lazy(&url)
        .expect("a connection string")
});

async fn users(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(&*POOL).await?;
    let worker = POOL.clone();
    tokio::spawn(async move { users(&worker).await }).await.unwrap()?;
    println!("{}", users(&POOL).await?);
    println!("{}", users(LazyLock::force(&POOL)).await?);
    let tx = POOL.begin().await?;
    tx.rollback().await
}
