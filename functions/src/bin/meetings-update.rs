//! `PUT /api/meetings/{id}`: changes the fields that are given and records it; If-Match is honoured.
//! Safe to repeat: the change and its record are one statement, applied once under an Idempotency-Key.

use std::process::ExitCode;

use functions::meetings::{self, Changes};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("PUT /api/meetings/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let if_match = request.if_match()?;
    let changes: Changes = request.json()?;
    request
        .write(
            (caller, id, if_match, changes),
            async |db, attempt, (caller, id, if_match, changes)| {
                meetings::update(db, attempt, caller, *id, if_match, changes).await
            },
            async |db, _, (caller, id, ..)| meetings::get(db, caller, *id).await,
            |meeting| meeting.into_response(Response::ok),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::meetings::{Draft, Meeting};
    use functions::openapi::examples::meeting;
    use serde_json::json;
    let said = "The fields of a meeting that a client changes: at least one. Null clears an optional field.";
    let changes = schemas.changes::<Draft, Meeting>("MeetingChanges", said);
    let schema = schemas.answer::<Meeting>();
    operation
        .registered()
        .id("id", "The meeting", "01900000-0000-7000-8000-000000000103")
        .conditional()
        .body(
            changes,
            true,
            json!({"title": "Sprint planning, moved", "date": "2026-03-05T13:00:00Z", "duration": 90}),
        )
        .keyed()
        .refuses(Error::not_found("meeting"))
        .refuses(Error::forbidden("Only the admin of its team may change a meeting."))
        .refuses(Error::conflict("Another meeting has this meetingBaasId."))
        .refuses(Error::field("teamMemberId", "must be somebody of the meeting's team"))
        .answers(200, "The meeting as it is now", &[("ETag", "ETag")], schema, meeting())
});
