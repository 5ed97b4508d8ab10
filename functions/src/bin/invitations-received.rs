//! `GET /api/users/me/invitations`, rarely: the pending invitations to the caller's verified address, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::invitations;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/me/invitations", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let found = request
        .read(async move |db| invitations::received(db, &caller).await)
        .await?;
    Ok(Response::ok(&found))
}

functions::describe!(|operation, schemas| {
    use functions::invitations::Received;
    use functions::openapi::{examples::INVITATION, parts::needs_verified_address};
    use serde_json::json;
    let invitations = schemas.list::<Received>();
    needs_verified_address(operation.registered().reads()).answers(
        200,
        "The invitations",
        &[],
        invitations,
        json!([{
            "id": INVITATION,
            "invitedBy": "Avery Adams",
            "invitedByEmail": "admin@example.com",
            "createdAt": "2026-03-02T09:30:00.123456Z",
            "expires": "2026-03-09T09:30:00.123456Z",
        }]),
    )
});
