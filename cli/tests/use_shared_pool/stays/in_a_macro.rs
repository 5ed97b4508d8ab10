use sqlx::PgPool;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let pool = tokio::select! {
        pool = PgPool::connect(&url) => pool?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
