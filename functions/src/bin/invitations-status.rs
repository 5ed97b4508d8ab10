//! `GET /api/users/can-invite`: how many more people the caller may invite.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::invitations;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/can-invite", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let found = request
        .read(async move |db| invitations::places(db, &caller).await)
        .await?;
    Ok(Response::ok(&found))
}

functions::describe!(|operation, schemas| {
    use functions::invitations::Places;
    use functions::openapi::examples::places;
    let schema = schemas.answer::<Places>();
    operation
        .registered()
        .reads()
        .refuses(Error::forbidden("Only the admin of a team may see its invitations."))
        .answers(200, "The places of the team", &[], schema, places())
});
