use sqlx::{Pool, Postgres};

/// What every function takes.
pub type Db = Pool<Postgres>;

async fn count(db: &Db) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(db).await
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let db = Db::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    println!("{}", count(&db).await?);
    Ok(())
}
