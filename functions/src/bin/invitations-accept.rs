//! `POST /api/users/invite/accept`, rarely: joins the team of an invitation, by the token of its link.
//! Safe to repeat: a caller who has joined gets the same answer.

use std::process::ExitCode;

use functions::invitations::{self, Acceptance};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/invite/accept", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let chosen = request.json::<Acceptance>()?.by(&caller)?;
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
    use functions::openapi::{examples::accepted, parts::accepts_invitation};
    use serde_json::json;
    let body = schemas.request::<Acceptance>("The token of the link; `clerkId` is the caller's own, if given.");
    let schema = schemas.answer::<Accepted>();
    // The token of the seed data.
    let operation = operation
        .registered()
        .body(body, true, json!({"token": "development-invitation"}));
    accepts_invitation(operation)
        .refuses(Error::forbidden("clerkId must be the sub of your own token."))
        .answers(200, "The caller is on the team", &[], schema, accepted())
});
