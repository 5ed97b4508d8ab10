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

functions::describe!(|operation, _| {
    use functions::openapi::examples::RECORDED_MEETING;
    operation
        .registered()
        .id("id", "The meeting it belongs to", RECORDED_MEETING)
        .id("taskId", "The task", "01900000-0000-7000-8000-000000000204")
        .keyed()
        .refuses(Error::not_found("task"))
        .refuses(Error::forbidden(
            "Only the meeting's creator and its team's admin may delete tasks.",
        ))
        .answers_nothing("It is gone")
});
