//! `GET /api/users/ai-settings`, rarely: the AI provider of the caller: always none.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::ai_settings;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/ai-settings", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let settings = request
        .read(async move |db| ai_settings::get(db, &caller).await)
        .await?;
    Ok(Response::ok(&settings))
}

functions::describe!(|operation, schemas| {
    use functions::ai_settings::Settings;
    use serde_json::json;
    let settings = schemas.answer::<Settings>();
    operation
        .registered()
        .reads()
        .answers(200, "The settings", &[], settings, json!(Settings::default()))
});
