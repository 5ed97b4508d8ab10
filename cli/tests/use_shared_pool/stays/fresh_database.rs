//! A database for each run, on the server of DATABASE_URL.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

async fn fresh(server: PgConnectOptions) -> sqlx::Result<PgPool> {
    let mut admin = PgConnection::connect_with(&server).await?;
    admin.execute("CREATE DATABASE fresh").await?;
    PgPoolOptions::new().connect_with(server.database("fresh")).await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = fresh(std::env::var("DATABASE_URL")?.parse()?).await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
