//! `GET /api/meetings/analyze/{userId}`: the newest analysis of a member, or a summary of their completed meetings.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::analyses::{self, Wanted};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/analyze/{userId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.id("userId")?;
    let wanted: Wanted = request.query()?;
    let summary = request
        .read(async move |db| analyses::current(db, &caller, user, &wanted).await)
        .await?;
    Ok(Response::ok(&summary))
}
