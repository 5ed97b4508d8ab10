//! `GET /api/users`: everybody on the caller's team, by name.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::users;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let team = request.read(async move |db| users::team(db, &caller).await).await?;
    Ok(Response::ok(&team))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::colleague;
    use functions::users::Colleague;
    use serde_json::json;
    let team = schemas.list::<Colleague>();
    operation
        .registered()
        .reads()
        .answers(200, "The team", &[], team, json!([colleague()]))
});
