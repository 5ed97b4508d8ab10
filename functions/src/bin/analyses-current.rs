//! `GET /api/meetings/analyze/{userId}`: the newest analysis of a member, or a summary of their completed meetings.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::analyses::{self, Wanted};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/analyze/{userId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.id("userId")?;
    let wanted: Wanted = request.query()?;
    let summary = request
        .read(async move |db| analyses::current(db, &caller, user, &wanted).await)
        .await?;
    Ok(Response::ok(&summary))
}

functions::describe!(|operation, schemas| {
    use functions::analyses::Summary;
    use functions::openapi::parts::analyses_of_member;
    use serde_json::json;
    let summary = schemas.answer::<Summary>();
    analyses_of_member(operation)
        .query::<bool>(
            "forceRefresh",
            "Whether the meetings are to be read even if an analysis is up to date.",
        )
        .answers(
            200,
            "The newest analysis, or the meetings",
            &[],
            summary,
            json!({
                "wins": ["The migration had no downtime"],
                "areasForSupport": ["Time to write documentation"],
                "tasks": ["Bring the migration runbook up to date"],
                "actionItems": ["Bring the migration runbook up to date"],
                "cached": false,
                "lastAnalyzedAt": "2026-03-02T10:05:12.654321Z",
                "source": "meetings",
            }),
        )
});
