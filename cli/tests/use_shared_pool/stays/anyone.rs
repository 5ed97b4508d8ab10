use sqlx::{Acquire, PgPool, Postgres};

async fn count<'a>(from: impl Acquire<'a, Database = Postgres>) -> sqlx::Result<i64> {
    let mut conn = from.acquire().await?;
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut *conn).await
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    println!("{}", count(&pool).await?);
    Ok(())
}
