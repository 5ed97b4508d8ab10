//! `GET /api/auth/google/status`, rarely: whether the caller's Google calendar is connected: always no.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::google;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/auth/google/status", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let status = request.read(async move |db| google::status(db, &caller).await).await?;
    Ok(Response::ok(&status))
}

functions::describe!(|operation, schemas| {
    use functions::google::Status;
    use serde_json::json;
    let status = schemas.answer::<Status>();
    operation
        .registered()
        .reads()
        .answers(200, "Whether it is connected", &[], status, json!(Status::default()))
});
