async fn count() -> anyhow::Result<i64> {
    use sqlx::PgPool;
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&pool).await?)
}

async fn other() -> anyhow::Result<()> {
    use sqlx::postgres::PgPoolOptions;
    let pool = PgPoolOptions::new().connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{}", count().await?);
    other().await
}
