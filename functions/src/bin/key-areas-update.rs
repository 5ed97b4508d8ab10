//! `PUT /api/users/{id}/key-areas/{areaId}`, rarely: changes the texts of a key area.
//! Safe to repeat: it sets values, and sets them once.

use std::process::ExitCode;

use functions::key_areas::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("PUT /api/users/{id}/key-areas/{areaId}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (user, id) = (request.id("id")?, request.id("areaId")?);
    let draft: Draft = request.json()?;
    request
        .write(
            (caller, user, id, draft),
            async |db, attempt, (caller, user, id, draft)| {
                key_areas::update(db, attempt, caller, *user, *id, draft).await
            },
            async |db, _, (caller, user, id, _)| key_areas::get(db, caller, *user, *id).await,
            |area| Response::ok(&area),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::key_areas::KeyArea;
    use functions::openapi::examples::{KEY_AREA, MEMBER, key_area};
    use functions::openapi::parts::key_area_draft;
    use serde_json::json;
    let (draft, area) = (key_area_draft(schemas), schemas.answer::<KeyArea>());
    operation
        .registered()
        .id("id", "The member it is about", MEMBER)
        .id("areaId", "The key area", KEY_AREA)
        .body(
            draft,
            true,
            json!({"name": "Documentation", "description": "Every runbook is tried out once a quarter"}),
        )
        .keyed()
        .refuses(Error::not_found("user"))
        .refuses(Error::not_found("key area"))
        .refuses(Error::forbidden("Only an admin may change key areas."))
        .answers(200, "The key area as it is now", &[], area, key_area())
});
