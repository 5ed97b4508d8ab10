//! Half of it is in another file, which is no module.

use sqlx::PgPool;

include!("half.rs");

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    println!("{}", count(&pool).await?);
    Ok(())
}
