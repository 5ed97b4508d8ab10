//! `GET /api/meetings/team-member/{userId}`: a page of one member's meetings that the caller may see, newest date first.
//! Safe to repeat: it only reads, and a cursor always names the same place.

use std::process::ExitCode;

use functions::meetings;
use functions::{SERVICE, example_event};
use shared::http::page::PageQuery;
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/team-member/{userId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let member = request.id("userId")?;
    let query: PageQuery = request.query()?;
    let page = request
        .read(async move |db| meetings::of_member(db, &caller, member, &query).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::meetings::ListedMeeting;
    use functions::openapi::examples::{MEMBER, listed_meeting};
    let meetings = schemas.list::<ListedMeeting>();
    operation
        .registered()
        .id("userId", "The team member", MEMBER)
        .paged()
        .reads()
        .refuses(Error::not_found("user"))
        .answers_page(meetings, listed_meeting())
});
