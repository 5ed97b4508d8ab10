//! `POST /api/users/invite`, rarely: invites an address to the caller's team.
//! Safe to repeat: an address has one pending invitation to a team.

use std::process::ExitCode;

use functions::invitations::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/invite", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let draft: Draft = request.json()?;
    request
        .write(
            (caller, draft),
            async |db, attempt, (caller, draft)| invitations::create(db, attempt, caller, draft).await,
            async |db, receipt, (caller, _)| invitations::get(db, caller, receipt.id).await,
            |invitation| Response::created(&invitation),
        )
        .await
}
