use lazy_static::lazy_static;
use sqlx::postgres::{PgPool, PgPoolOptions};

lazy_static! {
    /// The pool.
    static ref POOL: PgPool = PgPoolOptions::new()
        .connect_lazy(&std::env::var("DATABASE_URL").unwrap())
        .unwrap();
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(&*POOL).await?;
    Ok(())
}
