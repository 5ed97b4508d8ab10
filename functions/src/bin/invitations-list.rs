//! `GET /api/users/invitations`: the caller's pending invitations, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::invitations;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/invitations", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let found = request
        .read(async move |db| invitations::sent(db, &caller).await)
        .await?;
    Ok(Response::ok(&found))
}

functions::describe!(|operation, schemas| {
    use functions::invitations::Invitation;
    use functions::openapi::examples::invitation;
    use serde_json::json;
    let invitations = schemas.list::<Invitation>();
    operation
        .registered()
        .reads()
        .refuses(Error::forbidden("Only the admin of a team may see its invitations."))
        .answers(200, "The invitations", &[], invitations, json!([invitation()]))
});
