//! `GET /api/meetings/analysis/{userId}/{analysisId}`, rarely: one analysis of a member's meetings.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::analyses;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run(
        "GET /api/meetings/analysis/{userId}/{analysisId}",
        example_event!(),
        handle,
    )
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (user, id) = (request.id("userId")?, request.id("analysisId")?);
    let analysis = request
        .read(async move |db| analyses::get(db, &caller, user, id).await)
        .await?;
    Ok(Response::ok(&analysis))
}

functions::describe!(|operation, schemas| {
    use functions::analyses::Analysis;
    use functions::openapi::examples::{ANALYSIS, analysis};
    use functions::openapi::parts::analyses_of_member;
    let schema = schemas.answer::<Analysis>();
    analyses_of_member(operation)
        .id("analysisId", "The analysis", ANALYSIS)
        .refuses(Error::not_found("analysis"))
        .answers(200, "The analysis", &[], schema, analysis())
});
