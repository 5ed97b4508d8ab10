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
