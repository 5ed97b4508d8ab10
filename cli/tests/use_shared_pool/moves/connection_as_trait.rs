use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

async fn open() -> sqlx::Result<PgConnection> {
    <PgConnection as Connection>::connect(&std::env::var("DATABASE_URL").unwrap()).await
}

async fn open_too() -> sqlx::Result<PgConnection> {
    let options: PgConnectOptions = std::env::var("DATABASE_URL").unwrap().parse()?;
    options.connect().await
}

async fn open_three() -> sqlx::Result<PgConnection> {
    let options: PgConnectOptions = std::env::var("DATABASE_URL").unwrap().parse()?;
    PgConnection::connect_with(&options).await
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let (mut one, mut two, mut three) = (open().await?, open_too().await?, open_three().await?);
    sqlx::query("SELECT 1").execute(&mut one).await?;
    sqlx::query("SELECT 2").execute(&mut two).await?;
    sqlx::query("SELECT 3").execute(&mut three).await?;
    Ok(())
}
