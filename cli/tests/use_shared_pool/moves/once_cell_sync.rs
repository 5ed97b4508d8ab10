use once_cell::sync::Lazy;
use sqlx::{postgres::PgPoolOptions, Pool, Postgres};

pub static POOL: Lazy<Pool<Postgres>> =
    Lazy::new(|| PgPoolOptions::new().connect_lazy(&std::env::var("DATABASE_URL").unwrap()).unwrap());

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&*POOL).await?;
    println!("{n}");
    Ok(())
}
