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

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::{RECORDED_MEETING, task};
    use functions::tasks::Task;
    let schema = schemas.answer::<Task>();
    operation
        .registered()
        .id("id", "The meeting it belongs to", RECORDED_MEETING)
        .id("taskId", "The task", "01900000-0000-7000-8000-000000000203")
        .keyed()
        .refuses(Error::not_found("task"))
        .refuses(Error::conflict("Only a suggested task can be approved."))
        .answers(200, "The task as it is now", &[], schema, task())
});
