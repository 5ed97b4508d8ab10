//! `GET /api/users/{id}`: a person on the caller's team.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::users;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/{id}", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let id = request.id("id")?;
    let found = request.read(async move |db| users::get(db, &caller, id).await).await?;
    Ok(Response::ok(&found))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::{MEMBER, colleague};
    use functions::users::Colleague;
    let schema = schemas.answer::<Colleague>();
    operation
        .registered()
        .id("id", "The user", MEMBER)
        .reads()
        .refuses(Error::not_found("user"))
        .answers(200, "The user", &[], schema, colleague())
});
