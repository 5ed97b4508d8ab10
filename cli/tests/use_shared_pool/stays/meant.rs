use sqlx::PgPool;

#[tokio::main]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
