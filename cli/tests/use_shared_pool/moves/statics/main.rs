//! The static is in one module, and used in others.

mod pool;
mod users;

use pool::{POOL, init};

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    init().await?;
    sqlx::query("SELECT 1").execute(POOL.get().unwrap()).await?;
    println!("{}", users::count().await?);
    Ok(())
}
