//! A real Lambda function for the tests of this crate: it performs the commands in its event, or in the JSON body of an
//! API Gateway event; without a command it returns the event and its own environment.
//!
//! Its configuration, as environment variables: `INIT_EXIT` ends the process in INIT with that status, `INIT_HANG`
//! never leaves INIT, `GRACEFUL` registers for SIGTERM, `SNAPSHOT_FAILS` and `RESTORE_FAILS` fail those SnapStart hooks
//! with their value.

// The lint keeps the backend's configuration in one place; this program is not part of the backend.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{BoxFuture, Error, LambdaEvent, Runtime, SnapStartResource, service_fn};
use serde_json::{Value, json};

struct Announce;

impl SnapStartResource for Announce {
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            println!("before snapshot");
            std::env::var("SNAPSHOT_FAILS").map_or(Ok(()), |message| Err(message.into()))
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            println!("after restore");
            std::env::var("RESTORE_FAILS").map_or(Ok(()), |message| Err(message.into()))
        })
    }
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let LambdaEvent { payload, context } = event;
    println!("handling {}", context.request_id);
    let body = payload["body"]
        .as_str()
        .and_then(|body| serde_json::from_str(body).ok());
    let orders: Value = body.unwrap_or_else(|| payload.clone());
    if let Some(milliseconds) = orders["sleep_ms"].as_u64() {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    if let Some(status) = orders["exit"].as_i64() {
        std::process::exit(i32::try_from(status)?);
    }
    if let Some(message) = orders["fail"].as_str() {
        return Err(message.into());
    }
    if let Some(bytes) = orders["large"].as_u64() {
        return Ok(Value::String("x".repeat(usize::try_from(bytes)?)));
    }
    if orders.get("respond").is_some() {
        return Ok(orders["respond"].clone());
    }
    Ok(json!({
        "pid": std::process::id(),
        "event": payload,
        "request_id": context.request_id,
        "deadline_ms": context.deadline,
        "arn": context.invoked_function_arn,
        "variables": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    println!("INIT");
    if let Ok(status) = std::env::var("INIT_EXIT") {
        std::process::exit(status.parse()?);
    }
    if std::env::var("INIT_HANG").is_ok() {
        std::future::pending::<()>().await;
    }
    if std::env::var("GRACEFUL").is_ok() {
        lambda_runtime::spawn_graceful_shutdown_handler(|| async { println!("goodbye") }).await;
    }
    Runtime::new(service_fn(handle))
        .register_snapstart_resource(Arc::new(Announce))
        .run_concurrent()
        .await
}
