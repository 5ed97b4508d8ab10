use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

async fn lend(pool: &PgPool) -> sqlx::Result<PoolConnection<Postgres>> {
    pool.acquire().await
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let mut conn = lend(&pool).await?;
    sqlx::query("CREATE TEMPORARY TABLE names (name text)").execute(&mut *conn).await?;
    sqlx::query("INSERT INTO names SELECT name FROM users").execute(&mut *conn).await?;
    Ok(())
}
