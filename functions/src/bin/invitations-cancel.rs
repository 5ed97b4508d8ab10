//! `DELETE /api/users/invitations/{id}`, rarely: deletes a pending invitation of the caller.
//! Safe to repeat: an invitation that is gone is 404.

use std::process::ExitCode;

use functions::invitations;
use functions::{SERVICE, Success, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("DELETE /api/users/invitations/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    request
        .write(
            (caller, id),
            async |db, attempt, (caller, id)| invitations::cancel(db, attempt, caller, *id).await,
            async |db, _, (caller, _)| invitations::canceled(db, caller).await,
            |()| Response::ok(&Success::DONE),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::INVITATION;
    use serde_json::json;
    let success = schemas.answer::<Success>();
    operation
        .registered()
        .id("id", "The invitation", INVITATION)
        .keyed()
        .refuses(Error::forbidden("Only the admin of a team may cancel its invitations."))
        .refuses(Error::not_found("invitation"))
        .refuses(Error::conflict("It was accepted: remove the member instead."))
        .answers(200, "Cancelled", &[], success, json!(Success::DONE))
});
