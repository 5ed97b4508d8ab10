//! `GET /api/meetings/analysis-history/{userId}`: the analyses of a member's meetings, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::analyses;
use functions::{SERVICE, example_event};
use shared::http::page::PageQuery;
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/analysis-history/{userId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.id("userId")?;
    let query: PageQuery = request.query()?;
    let page = request
        .read(async move |db| analyses::list(db, &caller, user, &query).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::analyses::Analysis;
    use functions::openapi::{examples::analysis, parts::analyses_of_member};
    let analyses = schemas.list::<Analysis>();
    analyses_of_member(operation).paged().answers_page(analyses, analysis())
});
