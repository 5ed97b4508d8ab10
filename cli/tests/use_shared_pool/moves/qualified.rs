//! Nothing of sqlx is imported.

async fn count(pool: &sqlx::PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let pool: sqlx::Pool<sqlx::Postgres> = sqlx::postgres::PgPoolOptions::new().connect(&url).await?;
    println!("{}", count(&pool).await?);
    Ok(())
}
