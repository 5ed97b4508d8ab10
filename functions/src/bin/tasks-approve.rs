//! `PATCH /api/meetings/{id}/tasks/{taskId}/approve`: approves a suggested task, which is then to be done.
//! Safe to repeat: a task that is approved already is 409 and stays as it is.

use std::process::ExitCode;

use functions::tasks;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run(
        "PATCH /api/meetings/{id}/tasks/{taskId}/approve",
        example_event!(),
        handle,
    )
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (meeting, id) = (request.id("id")?, request.id("taskId")?);
    request
        .write(
            (caller, meeting, id),
            async |db, attempt, (caller, meeting, id)| tasks::approve(db, attempt, caller, *meeting, *id).await,
            async |db, _, (caller, meeting, id)| tasks::get(db, caller, *meeting, *id).await,
            |task| Response::ok(&task),
        )
        .await
}
