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
