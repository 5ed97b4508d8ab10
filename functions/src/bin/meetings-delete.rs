//! `DELETE /api/meetings/{id}`: deletes a meeting with its tasks and changes; If-Match is honoured.
//! Safe to repeat: a meeting that is gone is 404.

use std::process::ExitCode;

use functions::meetings;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("DELETE /api/meetings/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let if_match = request.if_match()?;
    request
        .write(
            (caller, id, if_match),
            async |db, attempt, (caller, id, if_match)| meetings::delete(db, attempt, caller, *id, if_match).await,
            async |db, _, (caller, ..)| meetings::deleted(db, caller).await,
            |()| Response::no_content(),
        )
        .await
}

functions::describe!(|operation, _| {
    operation
        .registered()
        .id("id", "The meeting", "01900000-0000-7000-8000-000000000104")
        .conditional()
        .keyed()
        .refuses(Error::not_found("meeting"))
        .refuses(Error::forbidden("Only the admin of its team may delete a meeting."))
        .answers_nothing("It is gone")
});
