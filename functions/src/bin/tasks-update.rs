//! `PATCH /api/meetings/{id}/tasks/{taskId}`: changes the fields of a task that are given.
//! Safe to repeat: it sets values, and sets them once.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::tasks::{self, Changes};

fn main() -> ExitCode {
    run("PATCH /api/meetings/{id}/tasks/{taskId}", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (meeting, id) = (request.id("id")?, request.id("taskId")?);
    let changes: Changes = request.json()?;
    request
        .write(async move |db| {
            let task = tasks::update(db, &caller, meeting, id, &changes).await?;
            Ok(Response::ok(&task))
        })
        .await
}
