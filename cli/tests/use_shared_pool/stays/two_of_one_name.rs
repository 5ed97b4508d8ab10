//! Which of the two is closed cannot be told from the name.

use sqlx::PgPool;

struct Workers;

impl Workers {
    async fn close(&self) {
        println!("the workers are done");
    }
}

fn workers() -> Workers {
    Workers
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    let pool = workers();
    pool.close().await;
    Ok(())
}
