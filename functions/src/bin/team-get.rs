//! `GET /api/users/team`: the caller and the people they hold meetings with.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::team;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/team", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let found = request.read(async move |db| team::teammates(db, &caller).await).await?;
    Ok(Response::ok(&found))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::contact;
    use functions::users::Contact;
    use serde_json::json;
    let team = schemas.list::<Contact>();
    operation
        .registered()
        .reads()
        .answers(200, "The caller first", &[], team, json!([contact()]))
});
