//! A peer: deadpool-postgres over tokio-postgres, made before the first invocation and shared by all.
//!
//! As deadpool-postgres' documentation has it: `RecyclingMethod::Fast`, prepared statements from the connection's
//! cache, the default size, no timeouts. It connects with the first query, so INIT passes with the database down.
//! Speaks no TLS. Not part of the product and not linted with it.

use deadpool_postgres::{Config, ManagerConfig, Pool, RecyclingMethod, Runtime};
use lambda_http::{Error, IntoResponse, Request, Response, run, service_fn};
use tokio_postgres::NoTls;

async fn handle(pool: &Pool) -> Result<impl IntoResponse, Error> {
    let client = pool.get().await?;
    let statement = client.prepare_cached("SELECT 1").await?;
    let one: i32 = client.query_one(&statement, &[]).await?.get(0);
    let body = serde_json::json!({ "one": one });
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(body.to_string())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    let config = Config {
        url: Some(std::env::var("DATABASE_URL")?),
        manager: Some(ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        }),
        ..Config::default()
    };
    let pool = &config.create_pool(Some(Runtime::Tokio1), NoTls)?;
    run(service_fn(move |_: Request| handle(pool))).await
}
