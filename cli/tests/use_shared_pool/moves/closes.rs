use sqlx::PgPool;

async fn work(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let outcome = work(&pool).await;
    // Says goodbye to the server.
    pool.close().await;
    outcome
}
