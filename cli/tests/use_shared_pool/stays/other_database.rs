use sqlx::PgPool;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let url = std::env::var("ANALYTICS_URL").unwrap();
    let pool = PgPool::connect(&url).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
