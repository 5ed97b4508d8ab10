use sqlx::{Acquire, PgPool};

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let mut tx = pool.begin().await?;
    let inner = tx.begin().await?;
    inner.rollback().await?;
    tx.commit().await
}
