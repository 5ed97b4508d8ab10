use tokio_postgres::{Config, Error, NoTls};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config: Config = std::env::var("DATABASE_URL").unwrap_or_default().parse()?;
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    let url = std::env::var("REPORTS_URL").unwrap_or_default();
    let (reports, connection) = url.parse::<tokio_postgres::Config>()?.connect(NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await?;
    reports.batch_execute("SELECT 1").await
}
