//! `POST /api/meetings/{id}/suggest-tasks`, rarely: suggests tasks for a meeting's areas for support, unless it has suggestions.
//! Safe to repeat: as long as a meeting has suggestions, it gets no others, also from two requests at once.

use std::process::ExitCode;

use functions::tasks::suggest;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/meetings/{id}/suggest-tasks", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let meeting = request.id("id")?;
    request
        .write(
            (caller, meeting),
            async |db, attempt, (caller, meeting)| suggest::create(db, attempt, caller, *meeting).await,
            async |db, _, (caller, meeting)| suggest::count(db, caller, *meeting).await,
            |suggestions| Response::ok(&suggestions),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::RECORDED_MEETING;
    use functions::tasks::suggest::Suggestions;
    use serde_json::json;
    let suggestions = schemas.answer::<Suggestions>();
    operation
        .registered()
        .id("id", "The meeting it belongs to", RECORDED_MEETING)
        .keyed()
        .refuses(Error::not_found("meeting"))
        .refuses(Error::conflict(
            "The meeting has no areas for support, for which tasks could be suggested.",
        ))
        .answers(
            200,
            "The number of suggestions, of now or before",
            &[],
            suggestions,
            json!({
                "message": "Approve the suggested tasks, or delete them.",
                "suggestedTasksCount": 2,
                "areasForSupportCount": 1,
            }),
        )
});
