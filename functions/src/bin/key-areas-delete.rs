//! `DELETE /api/users/{id}/key-areas/{areaId}`, rarely: deletes a key area.
//! Safe to repeat: a key area that is gone is 404.

use std::process::ExitCode;

use functions::key_areas;
use functions::{SERVICE, Success, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("DELETE /api/users/{id}/key-areas/{areaId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (user, id) = (request.id("id")?, request.id("areaId")?);
    request
        .write(
            (caller, user, id),
            async |db, attempt, (caller, user, id)| key_areas::delete(db, attempt, caller, *user, *id).await,
            async |db, _, (caller, user, _)| key_areas::deleted(db, caller, *user).await,
            |()| Response::ok(&Success::DONE),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::{KEY_AREA, MEMBER};
    use serde_json::json;
    let success = schemas.answer::<Success>();
    operation
        .registered()
        .id("id", "The member it is about", MEMBER)
        .id("areaId", "The key area", KEY_AREA)
        .keyed()
        .refuses(Error::not_found("user"))
        .refuses(Error::not_found("key area"))
        .refuses(Error::forbidden("Only an admin may delete key areas."))
        .answers(200, "It is gone", &[], success, json!(Success::DONE))
});
