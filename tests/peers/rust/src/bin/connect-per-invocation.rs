//! A peer: every invocation opens a connection, reads, and closes it.
//!
//! As on the first page of sqlx's documentation, with its defaults. Not part of the product and not linted with it: the
//! project's clippy.toml bans this.

#![allow(clippy::disallowed_methods, reason = "its own connections are what it is compared for")]

use lambda_http::{Error, IntoResponse, Request, Response, run, service_fn};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

async fn handle(_: Request) -> Result<impl IntoResponse, Error> {
    let url = std::env::var("DATABASE_URL")?;
    let mut connection = PgConnection::connect(&url).await?;
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await?;
    connection.close().await?;
    let body = serde_json::json!({ "one": one });
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(body.to_string())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    run(service_fn(handle)).await
}
