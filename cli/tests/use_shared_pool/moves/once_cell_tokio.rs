//! A pool that the first caller makes.

use sqlx::postgres::PgPoolOptions;
use sqlx::PgPool;
use tokio::sync::OnceCell;

/// Made at the first request.
static POOL: OnceCell<PgPool> = OnceCell::const_new();

async fn pool() -> &'static PgPool {
    POOL.get_or_init(|| async {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
        PgPoolOptions::new().max_connections(1).connect(&url).await.expect("a database")
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM meetings").fetch_one(pool().await).await?;
    println!("{n}");
    Ok(())
}
