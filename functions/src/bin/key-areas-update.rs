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
    use functions::openapi::parts::writes_key_area;
    let operation =
        operation
            .registered()
            .id("id", "The member it is about", MEMBER)
            .id("areaId", "The key area", KEY_AREA);
    writes_key_area(operation, schemas)
        .refuses(Error::forbidden("Only an admin may change key areas."))
        .answers(
            200,
            "The key area as it is now",
            &[],
            schemas.answer::<KeyArea>(),
            key_area(),
        )
});
