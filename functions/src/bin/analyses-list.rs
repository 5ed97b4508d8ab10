//! `GET /api/meetings/analysis-history/{userId}`: the analyses of a member's meetings, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::analyses;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/analysis-history/{userId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.id("userId")?;
    let analyses = request
        .read(async move |db| analyses::list(db, &caller, user).await)
        .await?;
    Ok(Response::ok(&analyses))
}
