//! `POST /api/users/invite`: invites an address to the caller's team.
//! Safe to repeat: an address has one pending invitation to a team.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::invitations::{self, Draft};

fn main() -> ExitCode {
    run("POST /api/users/invite", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let draft: Draft = request.json()?;
    request
        .write(async move |db| {
            let invitation = invitations::create(db, &caller, &draft).await?;
            Ok(Response::created(&invitation))
        })
        .await
}
