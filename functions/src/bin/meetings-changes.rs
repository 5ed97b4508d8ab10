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
