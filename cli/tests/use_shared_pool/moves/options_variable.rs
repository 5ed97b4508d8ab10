use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "postgres://localhost/seer".to_string());
    let connect_options = PgConnectOptions::from_str(&url)?.application_name("report");
    let pool_options = PgPoolOptions::new().max_connections(2);
    let pool = pool_options.connect_with(connect_options).await?;
    let (n,): (i64,) = sqlx::query_as("SELECT count(*) FROM tasks").fetch_one(&pool).await?;
    println!("{n}");
    Ok(())
}
