use std::sync::Arc;

use sqlx::PgPool;

async fn work(pool: Arc<PgPool>, id: i32) -> sqlx::Result<i32> {
    sqlx::query_scalar("SELECT $1").bind(id).fetch_one(&*pool).await
}

async fn report(pool: Arc<PgPool>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM tasks").fetch_one(pool.as_ref()).await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = Arc::new(PgPool::connect(&std::env::var("DATABASE_URL")?).await?);
    let handles: Vec<_> = (0..3).map(|id| tokio::spawn(work(Arc::clone(&pool), id))).collect();
    for handle in handles {
        println!("{}", handle.await??);
    }
    let (one, two) = tokio::try_join!(work(pool.clone(), 7), report(Arc::clone(&pool)))?;
    println!("{one} {two}");
    Ok(())
}
