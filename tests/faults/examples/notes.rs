//! A real Lambda function for the tests of this crate: it writes a note, or reads, on one connection. `MODE` selects how it
//! handles a failure: `honest` answers 503 and connects again; `once` never connects again; `boast` answers 201 although
//! the write failed; `again` repeats a failed write, which may have been applied.

// The lint keeps connections in the pool and configuration in one module of the backend; this is neither.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Longer than a healthy database takes.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

struct Notes {
    mode: String,
    url: String,
    connection: Mutex<Option<PgConnection>>,
}

impl Notes {
    /// Writes the note, or reads if there is none. A connection that failed is not used again.
    async fn query(&self, note: Option<&str>) -> Result<(), Error> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None if self.mode == "once" => return Err("no connection".into()),
            None => timeout(STATEMENT_TIMEOUT, PgConnection::connect(&self.url)).await??,
        };
        let query = match note {
            Some(note) => sqlx::query("INSERT INTO notes VALUES ($1)").bind(note),
            None => sqlx::query("SELECT 1"),
        };
        timeout(STATEMENT_TIMEOUT, query.execute(&mut connection)).await??;
        *held = Some(connection);
        Ok(())
    }

    async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let note = event.payload["body"].as_str();
        let mut done = self.query(note).await;
        if self.mode == "again" && done.is_err() {
            done = self.query(note).await;
        }
        Ok(match (done, note) {
            (Ok(()), None) => json!({"statusCode": 200, "body": "read"}),
            (Ok(()), Some(_)) => json!({"statusCode": 201, "body": "written"}),
            (Err(_), Some(_)) if self.mode == "boast" => json!({"statusCode": 201, "body": "written"}),
            (Err(error), _) => json!({"statusCode": 503, "body": error.to_string()}),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::var("DATABASE_URL")?;
    // INIT succeeds without the database.
    let connection = PgConnection::connect(&url).await.ok();
    let notes = &Notes {
        mode: std::env::var("MODE")?,
        url,
        connection: Mutex::new(connection),
    };
    run(service_fn(|event| notes.handle(event))).await
}
