//! `POST /api/meetings/{id}/suggest-tasks`, rarely: suggests tasks for a meeting's areas for support, unless it has suggestions.
//! Safe to repeat: as long as a meeting has suggestions, it gets no others, also from two requests at once.

use std::process::ExitCode;

use functions::tasks::suggest;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/meetings/{id}/suggest-tasks", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let meeting = request.id("id")?;
    request
        .write(
            (caller, meeting),
            async |db, attempt, (caller, meeting)| suggest::create(db, attempt, caller, *meeting).await,
            async |db, _, (caller, meeting)| suggest::count(db, caller, *meeting).await,
            |suggestions| Response::ok(&suggestions),
        )
        .await
}
