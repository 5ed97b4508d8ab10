use sqlx::{Pool, Postgres};

async fn count(pool: &Pool<Postgres>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = sqlx::Pool::<Postgres>::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    println!("{}", count(&pool).await?);
    Ok(())
}
