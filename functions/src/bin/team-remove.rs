//! `DELETE /api/users/team-members/{id}`, rarely: removes a member from the caller's team, who then leads an empty one.
//! Safe to repeat: a removed member is 404.

use std::process::ExitCode;

use functions::team;
use functions::{SERVICE, Success, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("DELETE /api/users/team-members/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    request
        .write(
            (caller, id),
            async |db, attempt, (caller, id)| team::remove(db, attempt, caller, *id).await,
            async |db, _, (caller, _)| team::removed(db, caller).await,
            |()| Response::ok(&Success::DONE),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::MEMBER;
    use serde_json::json;
    let success = schemas.answer::<Success>();
    operation
        .registered()
        .id("id", "The member", MEMBER)
        .keyed()
        .refuses(Error::forbidden("Only the admin of a team may remove its members."))
        .refuses(Error::not_found("team member"))
        .answers(200, "Removed", &[], success, json!(Success::DONE))
});
