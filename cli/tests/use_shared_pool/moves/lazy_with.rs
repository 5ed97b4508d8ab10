use sqlx::postgres::{PgConnectOptions, PgPool};

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let options: PgConnectOptions = std::env::var("DATABASE_URL").unwrap().parse()?;
    let pool = PgPool::connect_lazy_with(options);
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
