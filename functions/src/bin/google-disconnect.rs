//! `POST /api/auth/google/disconnect`, rarely: disconnects the caller's Google calendar: none is connected, so nothing changes.
//! Safe to repeat: it changes nothing.

use std::process::ExitCode;

use functions::google;
use functions::users::NoFields;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/auth/google/disconnect", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    if !request.body().is_empty() {
        request.json::<NoFields>()?;
    }
    let done = request
        .read(async move |db| google::disconnect(db, &caller).await)
        .await?;
    Ok(Response::ok(&done))
}

functions::describe!(|operation, schemas| {
    use functions::google::Disconnected;
    use serde_json::json;
    let nothing = schemas.request::<NoFields>("Nothing.");
    let disconnected = schemas.answer::<Disconnected>();
    operation.registered().body(nothing, false, json!({})).reads().answers(
        200,
        "Nothing is connected",
        &[],
        disconnected,
        json!(Disconnected::NONE),
    )
});
