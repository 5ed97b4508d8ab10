//! Modules of one name, each for its own platform.

#[cfg(unix)]
mod platform {
    use sqlx::PgPool;

    pub async fn open() -> sqlx::Result<PgPool> {
        PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await
    }
}

#[cfg(not(unix))]
mod platform {
    use sqlx::postgres::PgPool as Pool;

    pub async fn open() -> sqlx::Result<Pool> {
        Pool::connect(&std::env::var("DATABASE_URL").unwrap()).await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = platform::open().await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
