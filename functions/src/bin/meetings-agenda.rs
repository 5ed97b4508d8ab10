//! `GET /api/meetings/{id}/agenda`, rarely: the agenda of a meeting the caller may see, or a proposed one.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::meetings::agenda;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/{id}/agenda", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let agenda = request.read(async move |db| agenda::get(db, &caller, id).await).await?;
    Ok(Response::ok(&agenda))
}

functions::describe!(|operation, schemas| {
    use functions::meetings::agenda::Agenda;
    use functions::openapi::examples::RECORDED_MEETING;
    use serde_json::json;
    let agenda = schemas.answer::<Agenda>();
    operation
        .registered()
        .id("id", "The meeting", RECORDED_MEETING)
        .reads()
        .refuses(Error::not_found("meeting"))
        .answers(
            200,
            "The agenda",
            &[],
            agenda,
            json!({"phases": [{"name": "Agenda", "items": ["How the migration went"]}], "note": null}),
        )
});
