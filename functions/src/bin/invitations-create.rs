//! `POST /api/users/invite`, rarely: invites an address to the caller's team.
//! Safe to repeat: an address has one pending invitation to a team, which is renewed.

use std::process::ExitCode;

use functions::invitations::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/invite", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let draft = Draft::of(request.json()?)?;
    request
        .transact(
            (caller, draft),
            async |db, (caller, draft)| invitations::create(db, caller, draft).await,
            async |db, receipt, (caller, draft)| invitations::created(db, caller, receipt.id.into(), draft).await,
            |invited| Response::created(&invited),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::invitations::{Body, Invited};
    use functions::openapi::examples::{invitation, places};
    use serde_json::json;
    let (body, invited) = (
        schemas.request::<Body>("The invited person."),
        schemas.answer::<Invited>(),
    );
    let mut example = invitation();
    example["success"] = true.into();
    example["message"] =
        "Give the person the link /invite?token=TOKEN of the app, or ask them to look at their invitations.".into();
    example["inviteStatus"] = places();
    example["token"] = "mY0wY3v7m0bq2v1d6a1yQ0m9m1i4c8qk3o7f5r2t6zU".into();
    operation
        .registered()
        .body(body, true, json!({"email": "invited@example.com"}))
        .keyed()
        .refuses(Error::forbidden("Only an admin may invite somebody."))
        // A replay by a caller who has lost the admin role.
        .refuses(Error::not_found("invitation"))
        .refuses(Error::conflict("Somebody with this address is on your team already."))
        .refuses(Error::conflict(
            "Your team is full: cancel an invitation or remove a member first.",
        ))
        .answers(
            201,
            "The invitation, which is renewed if the address had one",
            &[],
            invited,
            example,
        )
});
