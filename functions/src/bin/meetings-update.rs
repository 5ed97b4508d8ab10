//! `PUT /api/meetings/{id}`: changes the fields that are given and records it; If-Match is honoured.
//! Safe to repeat: the change and its record are one statement, applied once under an Idempotency-Key.

use std::process::ExitCode;

use functions::meetings::{self, Changes};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("PUT /api/meetings/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let if_match = request.if_match()?;
    let changes: Changes = request.json()?;
    request
        .write(
            (caller, id, if_match, changes),
            async |db, attempt, (caller, id, if_match, changes)| {
                meetings::update(db, attempt, caller, *id, if_match, changes).await
            },
            async |db, _, (caller, id, ..)| meetings::get(db, caller, *id).await,
            |meeting| meeting.into_response(Response::ok),
        )
        .await
}
