use futures_util::FutureExt;
use sqlx::PgPool;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let pool = async { url.as_str() }.then(PgPool::connect).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
