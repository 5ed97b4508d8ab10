//! `DELETE /api/meetings/{id}/tasks/{taskId}`: deletes a task.
//! Safe to repeat: a task that is gone is 404.

use std::process::ExitCode;

use functions::tasks;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("DELETE /api/meetings/{id}/tasks/{taskId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (meeting, id) = (request.id("id")?, request.id("taskId")?);
    request
        .write(
            (caller, meeting, id),
            async |db, attempt, (caller, meeting, id)| tasks::delete(db, attempt, caller, *meeting, *id).await,
            async |db, _, (caller, meeting, _)| tasks::deleted(db, caller, *meeting).await,
            |()| Response::no_content(),
        )
        .await
}
