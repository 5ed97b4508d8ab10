//! A peer: sqlx's `PgPool` in a static, opened by the first invocation and reused by the warm ones.
//!
//! `max_connections(5)` as in sqlx's own README; everything else is the pool's default (test before acquire, 30 s to
//! acquire, 10 min idle, 30 min lifetime). Not part of the product and not linted with it: the project's clippy.toml
//! bans this pool.

#![allow(clippy::disallowed_methods, reason = "its own connections are what it is compared for")]

use lambda_http::{Error, IntoResponse, Request, Response, run, service_fn};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::OnceCell;

static POOL: OnceCell<PgPool> = OnceCell::const_new();

async fn pool() -> Result<&'static PgPool, Error> {
    let open = async || {
        let url = std::env::var("DATABASE_URL")?;
        Ok(PgPoolOptions::new().max_connections(5).connect(&url).await?)
    };
    POOL.get_or_try_init(open).await
}

async fn handle(_: Request) -> Result<impl IntoResponse, Error> {
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(pool().await?).await?;
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
