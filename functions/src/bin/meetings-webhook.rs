//! `POST /api/meetings/webhook`: what the recording service reports, verified by its signature.
//! Safe to repeat: a delivery's id is its idempotency key, and its event never moves a meeting back.

use std::process::ExitCode;

use functions::meetings::webhook::{self, Delivery, Receipt};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/meetings/webhook", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let Delivery { id, event } = Delivery::of(&request)?;
    let key = request.scoped_key("webhook", &id).kept_for(webhook::DELIVERY_LIFETIME);
    request
        .write_under(
            &key,
            event,
            async |db, attempt, event| webhook::apply(db, attempt, event).await,
            async |_, _, _| Ok(Receipt::RECEIVED),
            |receipt| Response::ok(&receipt),
        )
        .await
}
