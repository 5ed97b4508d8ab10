//! `GET /api/meetings/{id}/tasks`: the tasks of a meeting the caller may see, oldest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::tasks;
use functions::{SERVICE, example_event};
use shared::http::page::PageQuery;
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/{id}/tasks", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let meeting = request.id("id")?;
    let query: PageQuery = request.query()?;
    let page = request
        .read(async move |db| tasks::list(db, &caller, meeting, &query).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::{RECORDED_MEETING, task};
    use functions::tasks::Task;
    let tasks = schemas.list::<Task>();
    operation
        .registered()
        .id("id", "The meeting it belongs to", RECORDED_MEETING)
        .paged()
        .reads()
        .refuses(Error::not_found("meeting"))
        .answers_page(tasks, task())
});
