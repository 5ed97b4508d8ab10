//! `POST /api/meetings/webhook`: what the recording service reports, verified by its signature.
//! Safe to repeat: a delivery's id is its idempotency key, and its event never moves a meeting back.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::meetings::webhook::{self, Delivery};

fn main() -> ExitCode {
    run("POST /api/meetings/webhook", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let Delivery { id, event } = Delivery::of(&request)?;
    request
        .write_once("webhook", &id, async move |db| {
            let receipt = webhook::apply(db, &event).await?;
            Ok(Response::ok(&receipt))
        })
        .await
}
