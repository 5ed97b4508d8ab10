//! `PUT /api/meetings/{id}`: changes the fields that are given and records it; If-Match is honoured.
//! Safe to repeat: the change and its record are one transaction, applied once.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::meetings::{self, Changes};

fn main() -> ExitCode {
    run("PUT /api/meetings/{id}", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let if_match = request.if_match()?;
    let changes: Changes = request.json()?;
    request
        .write(async move |db| {
            let meeting = meetings::update(db, &caller, id, &if_match, &changes).await?;
            Ok(Response::ok(&meeting).with_etag(meeting.version))
        })
        .await
}
