//! The poolers of `local::postgres`, from a client's view.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use local::postgres::{Cluster, Pooler, Settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

/// Runs one named statement twice on one client connection, each time on another connection to the server.
async fn statement_follows(cluster: &Cluster, pooler: &Pooler) -> Result<(), sqlx::Error> {
    let options: PgConnectOptions = cluster.url().parse()?;
    // PgBouncer rejects a parameter that it does not know.
    let options = options.extra_float_digits(None).port(pooler.address().port());
    let backend = "SELECT pg_backend_pid()";
    let mut client = PgConnection::connect_with(&options).await?;
    let first: i32 = sqlx::query_scalar(backend).fetch_one(&mut client).await?;
    // An open transaction keeps the only connection.
    let mut other = PgConnection::connect_with(&options).await?;
    sqlx::raw_sql("BEGIN").execute(&mut other).await?;
    let second: i32 = sqlx::query_scalar(backend).fetch_one(&mut client).await?;
    assert_ne!(first, second);
    Ok(())
}

#[tokio::test]
async fn named_statement_follows_its_client() {
    if Pooler::find_with_prepared_statements().is_none() {
        println!("skipped: there is no pgbouncer 1.21 or newer");
        return;
    }
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let pooler = Pooler::start_with_prepared_statements(&cluster, "seer", cluster.password(), 2).await;
    statement_follows(&cluster, &pooler.unwrap()).await.unwrap();
}

#[tokio::test]
async fn unkept_named_statement_is_unknown() {
    if Pooler::find().is_none() {
        println!("skipped: there is no pgbouncer");
        return;
    }
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 2).await.unwrap();
    let error = statement_follows(&cluster, &pooler).await.unwrap_err();
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("26000"), "{error}");
}
