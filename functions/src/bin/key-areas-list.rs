//! `GET /api/users/{id}/key-areas`: the key areas of a member, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::key_areas;
use functions::{SERVICE, example_event};
use shared::http::page::PageQuery;
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/{id}/key-areas", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.id("id")?;
    let query: PageQuery = request.query()?;
    let page = request
        .read(async move |db| key_areas::list(db, &caller, user, &query).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::key_areas::KeyArea;
    use functions::openapi::examples::{MEMBER, key_area};
    let areas = schemas.list::<KeyArea>();
    operation
        .registered()
        .id("id", "The member it is about", MEMBER)
        .paged()
        .reads()
        .refuses(Error::not_found("user"))
        .refuses(Error::forbidden(
            "Only the member and the admin of their team may read key areas.",
        ))
        .answers_page(areas, key_area())
});
