use sqlx::postgres::{PgPool, PgPoolOptions};

fn pool() -> Result<PgPool, sqlx::Error> {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    PgPoolOptions::new().max_connections(1).connect_lazy(&url)
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = pool()?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
