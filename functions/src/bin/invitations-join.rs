//! `POST /api/users/me/invitations/{id}/accept`, rarely: joins the team of an invitation to the caller's address.
//! Safe to repeat: a caller who has joined gets the same answer.

use std::process::ExitCode;

use functions::invitations::{self, Chosen};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/me/invitations/{id}/accept", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let chosen = Chosen::to(&caller, request.id("id")?)?;
    request
        .transact(
            (caller, chosen),
            async |db, (caller, chosen)| invitations::accept(db, caller, chosen).await,
            async |db, receipt, (caller, _)| invitations::accepted(db, caller, receipt.id.into()).await,
            |accepted| Response::ok(&accepted),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::invitations::Accepted;
    use functions::openapi::examples::{INVITATION, accepted};
    use functions::openapi::parts::{accepts_invitation, needs_verified_address};
    let schema = schemas.answer::<Accepted>();
    let operation = operation.registered().id("id", "The invitation", INVITATION);
    needs_verified_address(accepts_invitation(operation)).answers(
        200,
        "The caller is on the team",
        &[],
        schema,
        accepted(),
    )
});
