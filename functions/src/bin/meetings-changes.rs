//! `GET /api/meetings/{id}/changes`: a page of the changes of a meeting, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::meetings::changes;
use functions::{SERVICE, example_event};
use shared::http::page::PageQuery;
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/{id}/changes", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let query: PageQuery = request.query()?;
    let page = request
        .read(async move |db| changes::list(db, &caller, id, &query).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::meetings::MeetingChange;
    use functions::openapi::examples::MOVED_MEETING;
    use serde_json::json;
    let changes = schemas.list::<MeetingChange>();
    let change = json!({
        "id": "01900000-0000-7000-8000-000000000301",
        "meetingId": MOVED_MEETING,
        "changeType": "rescheduled",
        "previousTitle": null,
        "previousDate": "2026-03-02T08:30:00Z",
        "previousDuration": null,
        "newTitle": null,
        "newDate": "2026-03-02T09:30:00Z",
        "newDuration": null,
        "createdAt": "2026-03-01T16:20:00.123456Z",
    });
    operation
        .registered()
        .id("id", "The meeting", MOVED_MEETING)
        .paged()
        .reads()
        .refuses(Error::not_found("meeting"))
        .answers_page(changes, change)
});
