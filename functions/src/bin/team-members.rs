//! `GET /api/users/team-members`: the members of the caller's team without the caller, newest first.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::team;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/team-members", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let found = request.read(async move |db| team::members(db, &caller).await).await?;
    Ok(Response::ok(&found))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::colleague;
    use functions::users::Colleague;
    use serde_json::json;
    let members = schemas.list::<Colleague>();
    operation
        .registered()
        .reads()
        .refuses(Error::forbidden("Only the admin of a team may list its members."))
        .answers(200, "The members", &[], members, json!([colleague()]))
});
