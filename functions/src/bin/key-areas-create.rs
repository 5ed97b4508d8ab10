//! `POST /api/users/{id}/key-areas`, rarely: adds a key area to a member of the caller's team.
//! Safe to repeat: its id is made before the first attempt, and under an Idempotency-Key it is created once.

use std::process::ExitCode;

use functions::key_areas::{self, Draft};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/{id}/key-areas", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.id("id")?;
    let draft: Draft = request.json()?;
    request
        .write(
            (caller, user, draft),
            async |db, attempt, (caller, user, draft)| key_areas::create(db, attempt, caller, *user, draft).await,
            async |db, receipt, (caller, user, _)| key_areas::get(db, caller, *user, receipt.id.into()).await,
            |area| {
                let location = format!("/api/users/{}/key-areas/{}", area.user_id, area.id);
                Response::created(&area).at(location)
            },
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::key_areas::KeyArea;
    use functions::openapi::examples::{MEMBER, key_area};
    use functions::openapi::parts::writes_key_area;
    let operation = operation.registered().id("id", "The member it is about", MEMBER);
    writes_key_area(operation, schemas)
        .refuses(Error::forbidden("Only an admin may add key areas."))
        .answers(
            201,
            "The key area",
            &[("Location", "Location")],
            schemas.answer::<KeyArea>(),
            key_area(),
        )
});
