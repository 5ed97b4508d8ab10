//! `GET /api/meetings/with-team-members`: a page of the meetings the caller may see, as `GET /api/meetings`.
//! Safe to repeat: it only reads, and a cursor always names the same place.

use std::process::ExitCode;

use functions::meetings::{self, Filter};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/with-team-members", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let filter: Filter = request.query()?;
    let page = request
        .read(async move |db| meetings::list(db, &caller, &filter).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::meetings::ListedMeeting;
    use functions::openapi::{examples::listed_meeting, parts::filtered_meetings};
    let meetings = schemas.list::<ListedMeeting>();
    filtered_meetings(operation).answers_page(meetings, listed_meeting())
});
