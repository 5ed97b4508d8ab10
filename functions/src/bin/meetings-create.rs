//! `POST /api/meetings`: creates a meeting of the caller's team.
//! Safe to repeat: its id is made before the first attempt, and under an Idempotency-Key it is created once.

use std::process::ExitCode;

use functions::meetings::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/meetings", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let draft: Draft = request.json()?;
    request
        .write(
            (caller, draft),
            async |db, attempt, (caller, draft)| meetings::create(db, attempt, caller, draft).await,
            async |db, receipt, (caller, _)| meetings::get(db, caller, receipt.id.into()).await,
            |meeting| {
                let location = format!("/api/meetings/{}", meeting.summary.id);
                meeting.into_response(Response::created).at(location)
            },
        )
        .await
}
