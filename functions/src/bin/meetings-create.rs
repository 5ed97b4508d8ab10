//! `POST /api/meetings`: creates a meeting of the caller's team.
//! Safe to repeat: its id is made before the first attempt, and under an Idempotency-Key it is created once.

use std::process::ExitCode;

use functions::meetings::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/meetings", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let draft: Draft = request.json()?;
    request
        .write(
            (caller, draft),
            async |db, attempt, (caller, draft)| meetings::create(db, attempt, caller, draft).await,
            async |db, receipt, (caller, _)| meetings::get(db, caller, receipt.id.into()).await,
            |meeting| {
                let location = format!("/api/meetings/{}", meeting.summary.id);
                meeting.into_response(Response::created).at(location)
            },
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::meetings::{Meeting, MeetingType, Platform, Status};
    use functions::openapi::examples::{MEMBER, meeting};
    use serde_json::json;
    let defaults = [
        ("status", json!(Status::default())),
        ("meetingType", json!(MeetingType::default())),
        ("platform", json!(Platform::default())),
        ("speakers", json!([])),
        ("wins", json!([])),
        ("areasForSupport", json!([])),
        ("keyInsights", json!([])),
    ];
    let draft = schemas.draft::<Draft, Meeting>("A new meeting.", &defaults);
    let schema = schemas.answer::<Meeting>();
    operation
        .registered()
        .body(
            draft,
            true,
            json!({
                "title": "Retrospective",
                "teamMemberId": MEMBER,
                "date": "2026-03-02T09:30:00+01:00",
                "duration": 45,
                "meetingType": "team_meeting",
                "platform": "google_meet",
                "platformMeetingUrl": "https://meet.google.com/klm-nopq-rst",
                "agenda": "What went well, what did not",
            }),
        )
        .keyed()
        .refuses(Error::forbidden("Only an admin may create a meeting."))
        // A replay whose meeting has been deleted since.
        .refuses(Error::not_found("meeting"))
        .refuses(Error::conflict("Another meeting has this meetingBaasId."))
        .refuses(Error::field("teamMemberId", "must be somebody of the meeting's team"))
        .answers(
            201,
            "The meeting",
            &[("Location", "Location"), ("ETag", "ETag")],
            schema,
            meeting(),
        )
});
