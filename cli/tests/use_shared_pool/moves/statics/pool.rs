use sqlx::postgres::{PgPool, PgPoolOptions};
use std::sync::OnceLock;

pub static POOL: OnceLock<PgPool> = OnceLock::new();

pub async fn init() -> sqlx::Result<()> {
    let pool = PgPoolOptions::new().connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let _ = POOL.set(pool);
    Ok(())
}
