use deadpool_postgres::{Config, Runtime};
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::new();
    config.url = std::env::var("DATABASE_URL").ok();
    let pool = config.create_pool(Some(Runtime::Tokio1), NoTls)?;
    let client = pool.get().await?;
    client.execute("SELECT 1", &[]).await?;
    Ok(())
}
