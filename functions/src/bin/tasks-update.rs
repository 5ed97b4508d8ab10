//! `PATCH /api/meetings/{id}/tasks/{taskId}`: changes the fields of a task that are given.
//! Safe to repeat: it sets values, and sets them once.

use std::process::ExitCode;

use functions::tasks::{self, Changes};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("PATCH /api/meetings/{id}/tasks/{taskId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (meeting, id) = (request.id("id")?, request.id("taskId")?);
    let changes: Changes = request.json()?;
    request
        .write(
            (caller, meeting, id, changes),
            async |db, attempt, (caller, meeting, id, changes)| {
                tasks::update(db, attempt, caller, *meeting, *id, changes).await
            },
            async |db, _, (caller, meeting, id, _)| tasks::get(db, caller, *meeting, *id).await,
            |task| Response::ok(&task),
        )
        .await
}
