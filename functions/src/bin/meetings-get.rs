//! `GET /api/meetings/{id}`: one meeting the caller may see, with its ETag.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::meetings;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let meeting = request
        .read(async move |db| meetings::get(db, &caller, id).await)
        .await?;
    Ok(meeting.into_response(Response::ok))
}

functions::describe!(|operation, schemas| {
    use functions::meetings::Meeting;
    use functions::openapi::examples::{RECORDED_MEETING, meeting};
    let schema = schemas.answer::<Meeting>();
    operation
        .registered()
        .id("id", "The meeting", RECORDED_MEETING)
        .reads()
        .refuses(Error::not_found("meeting"))
        .answers(200, "The meeting", &[("ETag", "ETag")], schema, meeting())
});
