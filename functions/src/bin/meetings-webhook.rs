//! `POST /api/meetings/webhook`: receives a delivery of the recording service, verified by signature, API key or secret.
//! Safe to repeat: a delivery's id or digest is its idempotency key, and its event never moves a meeting back.

use std::process::ExitCode;

use functions::meetings::webhook;
use functions::{RECORDER, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    RECORDER.run("POST /api/meetings/webhook", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    webhook::receive(&request).await
}

functions::describe!(|operation, schemas| functions::openapi::webhooks::recorder(operation, schemas));
