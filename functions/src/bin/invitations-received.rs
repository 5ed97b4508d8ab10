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
