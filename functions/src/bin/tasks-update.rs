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

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::{RECORDED_MEETING, TASK, task};
    use functions::tasks::{Draft, Task};
    use serde_json::json;
    let said = "The fields of a task that a client changes: at least one. Null clears an optional field.";
    let changes = schemas.changes::<Draft, Task>("TaskChanges", said);
    let schema = schemas.answer::<Task>();
    operation
        .registered()
        .id("id", "The meeting it belongs to", RECORDED_MEETING)
        .id("taskId", "The task", TASK)
        .body(changes, true, json!({"status": "complete"}))
        .keyed()
        .refuses(Error::not_found("task"))
        .refuses(Error::forbidden(
            "The team member may only change a task between incomplete and complete.",
        ))
        .refuses(Error::field(
            "assignedTo",
            "must be somebody of the meeting's team, or null",
        ))
        .answers(200, "The task as it is now", &[], schema, task())
});
