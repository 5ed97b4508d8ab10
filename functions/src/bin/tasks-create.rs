//! `POST /api/meetings/{id}/tasks`: adds a task to a meeting.
//! Safe to repeat: its id is made before the first attempt, and under an Idempotency-Key it is created once.

use std::process::ExitCode;

use functions::tasks::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/meetings/{id}/tasks", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let meeting = request.id("id")?;
    let draft: Draft = request.json()?;
    request
        .write(
            (caller, meeting, draft),
            async |db, attempt, (caller, meeting, draft)| tasks::create(db, attempt, caller, *meeting, draft).await,
            async |db, receipt, (caller, meeting, _)| tasks::get(db, caller, *meeting, receipt.id.into()).await,
            |task| {
                let location = format!("/api/meetings/{}/tasks/{}", task.meeting_id, task.id);
                Response::created(&task).at(location)
            },
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::{MEMBER, MOVED_MEETING, task};
    use functions::tasks::{Status, Task};
    use serde_json::json;
    let draft = schemas.draft::<Draft, Task>("A new task.", &[("status", json!(Status::default()))]);
    let schema = schemas.answer::<Task>();
    operation
        .registered()
        .id("id", "The meeting it belongs to", MOVED_MEETING)
        .body(
            draft,
            true,
            json!({"text": "Write the release notes", "assignedTo": MEMBER, "suggestedAssignee": "team_member"}),
        )
        .keyed()
        .refuses(Error::not_found("meeting"))
        .refuses(Error::forbidden(
            "Only the meeting's creator and its team's admin may add tasks.",
        ))
        .refuses(Error::field(
            "assignedTo",
            "must be somebody of the meeting's team, or null",
        ))
        .answers(201, "The task", &[("Location", "Location")], schema, task())
});
