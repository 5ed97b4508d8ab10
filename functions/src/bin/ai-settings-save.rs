//! `POST /api/users/ai-settings`, rarely: refuses to store a key, because nothing uses one.
//! Safe to repeat: it stores nothing.

use std::process::ExitCode;

use functions::ai_settings::{self, Changes};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/ai-settings", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    request.caller()?;
    request.json::<Changes>()?;
    Err(ai_settings::not_configured())
}

functions::describe!(|operation, schemas| {
    use serde_json::json;
    let body = schemas.request::<Changes>("The settings.");
    operation
        .body(
            body,
            true,
            json!({"useCustomAI": true, "aiProvider": "anthropic", "apiKey": "sk-example"}),
        )
        .refuses(ai_settings::not_configured())
});
