//! `DELETE /api/users/me/invitations/{id}`, rarely: deletes a pending invitation to the caller's verified address.
//! Safe to repeat: an invitation that is gone is 404.

use std::process::ExitCode;

use functions::invitations;
use functions::{SERVICE, Success, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("DELETE /api/users/me/invitations/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    request
        .write(
            (caller, id),
            async |db, attempt, (caller, id)| invitations::decline(db, attempt, caller, *id).await,
            async |db, _, (caller, _)| invitations::declined(db, caller).await,
            |()| Response::ok(&Success::DONE),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::{examples::INVITATION, parts::needs_verified_address};
    use serde_json::json;
    let success = schemas.answer::<Success>();
    let operation = operation.registered().id("id", "The invitation", INVITATION).keyed();
    needs_verified_address(operation)
        .refuses(Error::not_found("invitation"))
        .answers(200, "Declined", &[], success, json!(Success::DONE))
});
