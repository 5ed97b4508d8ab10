//! `POST /api/meetingbaas/webhooks`: the same as `meetings-webhook`, at the address that older bots use.
//! Safe to repeat: a delivery's id or digest is its idempotency key, and its event never moves a meeting back.

use std::process::ExitCode;

use functions::meetings::webhook;
use functions::{RECORDER, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    RECORDER.run("POST /api/meetingbaas/webhooks", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    webhook::receive(&request).await
}

functions::describe!(|operation, schemas| functions::openapi::webhooks::recorder(operation, schemas));
