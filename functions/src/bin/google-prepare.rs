//! `POST /api/auth/google/prepare`, rarely: refuses to connect a Google calendar, because no Google client is configured.
//! Safe to repeat: it changes nothing.

use std::process::ExitCode;

use functions::google::{self, Prepare};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/auth/google/prepare", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    request.json::<Prepare>()?;
    Err(google::not_configured())
}

functions::describe!(|operation, schemas| {
    use serde_json::json;
    let body = schemas.request::<Prepare>("The caller's token, because the page sends no Authorization header.");
    operation
        .public()
        .body(body, true, json!({"token": "header.payload.signature"}))
        .refuses(google::not_configured())
});
