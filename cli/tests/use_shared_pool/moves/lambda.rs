//! A function with its pool in main, lent to each invocation.

use lambda_http::{run, service_fn, Body, Error, Request, Response};
use sqlx::postgres::PgPoolOptions;
use sqlx::PgPool;

async fn handler(pool: &PgPool, _event: Request) -> Result<Response<Body>, Error> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM meetings").fetch_one(pool).await?;
    Ok(Response::builder().status(200).body(n.to_string().into())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&std::env::var("DATABASE_URL")?)
        .await?;
    let pool = &pool;
    run(service_fn(move |event| async move { handler(pool, event).await })).await
}
