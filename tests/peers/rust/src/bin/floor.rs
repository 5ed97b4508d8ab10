//! The floor: the minimum that a function can do and still answer with a meeting. It is not a peer, and should not be
//! deployed.
//!
//! It runs the statement of `GET /api/meetings/{id}`, or for a POST the statement of `POST /api/meetings` with its
//! receipt, on a connection that it has kept since INIT, and forwards the meeting's JSON. It validates nothing, logs nothing, and
//! handles no errors. `cargo seer bench` states every other figure as a multiple of its figures. At a concurrency above
//! one it keeps a connection for each request.

use std::sync::{Arc, Mutex};

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Uuid;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _, ValueRef as _};

/// Must be the statement of `functions::meetings::get`: `cargo seer bench` compares them.
const READ: &str = include_str!("../floor/read.sql");
/// The statement of `functions::meetings::create`, and the receipt.
const WRITE: &str = include_str!("../floor/write.sql");

/// The parts used of an event of API Gateway, payload format 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    request_context: RequestContext,
    path_parameters: Option<PathParameters>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct RequestContext {
    authorizer: Authorizer,
}

#[derive(Deserialize)]
struct Authorizer {
    jwt: Jwt,
}

#[derive(Deserialize)]
struct Jwt {
    claims: Claims,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

#[derive(Deserialize)]
struct PathParameters {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    headers: Headers,
    body: String,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "content-type")]
    content_type: &'static str,
}

type Connections = Arc<Mutex<Vec<PgConnection>>>;

async fn handle(event: Event, connections: &Connections) -> Result<Answer, Error> {
    // There are as many connections as requests, so one is available.
    let taken = connections.lock().map_err(|_| "poisoned")?.pop();
    let mut connection = taken.ok_or("no connection is free")?;
    let sub = event.request_context.authorizer.jwt.claims.sub;
    let (status_code, row) = match event.path_parameters {
        Some(PathParameters { id }) => {
            let read = sqlx::query(READ).bind(sub).bind(id.parse::<Uuid>()?);
            (200, connection.fetch_one(read).await?)
        }
        None => {
            let id = Uuid::now_v7();
            let draft = draft(&event.body.unwrap_or_default(), id)?;
            let write = sqlx::query(WRITE).bind(sub).bind(draft).bind(id);
            (201, connection.fetch_one(write).await?)
        }
    };
    // A jsonb value on the wire is a version byte and text.
    let value = row.try_get_raw("meeting")?;
    let body = if value.is_null() {
        String::new()
    } else {
        value.as_str()?.get(1..).unwrap_or_default().to_owned()
    };
    connections.lock().map_err(|_| "poisoned")?.push(connection);
    let headers = Headers { content_type: "application/json" };
    Ok(Answer { status_code, headers, body })
}

/// Returns the body under the names of the columns, with the defaults of the route.
fn draft(body: &str, id: Uuid) -> Result<String, Error> {
    let mut draft = json!({
        "id": id.to_string(), "status": "scheduled", "meeting_type": "one_on_one", "platform": "google_meet", "speakers": [],
        "wins": [], "areas_for_support": [], "key_insights": [],
    });
    let fields: Value = serde_json::from_str(body)?;
    for (name, value) in fields.as_object().into_iter().flatten() {
        let mut column = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() {
                column.push('_');
            }
            column.push(letter.to_ascii_lowercase());
        }
        draft[column] = value.clone();
    }
    Ok(draft.to_string())
}

async fn serve(concurrency: usize) -> Result<(), Error> {
    let url = std::env::var("DATABASE_URL")?;
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        let mut connection = PgConnection::connect(&url).await?;
        for statement in [READ, WRITE] {
            connection.prepare(statement.into_sql_str()).await?;
        }
        connections.push(connection);
    }
    let connections = Arc::new(Mutex::new(connections));
    let function = service_fn(move |event: LambdaEvent<Event>| {
        let connections = Arc::clone(&connections);
        async move { handle(event.payload, &connections).await }
    });
    Runtime::new(function).run_concurrent().await
}

fn main() -> Result<(), Error> {
    let concurrency = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok().and_then(|text| text.parse().ok());
    let concurrency = concurrency.unwrap_or(1);
    let mut runtime = match concurrency {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(serve(concurrency))
}
