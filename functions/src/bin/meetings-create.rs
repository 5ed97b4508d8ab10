//! `POST /api/meetings`: creates a meeting of the caller's team.
//! Safe to repeat: its id is made before the first attempt, and an Idempotency-Key replays the answer.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::meetings::{self, Draft};

fn main() -> ExitCode {
    run("POST /api/meetings", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let draft: Draft = request.json()?;
    request
        .write(async move |db| {
            let meeting = meetings::create(db, &caller, &draft).await?;
            let location = format!("/api/meetings/{}", meeting.id);
            Ok(Response::created(&meeting).at(location).with_etag(meeting.version))
        })
        .await
}
