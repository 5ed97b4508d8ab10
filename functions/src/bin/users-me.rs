//! `GET /api/users/me`: the caller's own user.
//! Safe to repeat: it only reads.

use std::process::ExitCode;

use functions::users;
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/users/me", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let user = request.read(async move |db| users::me(db, &caller).await).await?;
    Ok(Response::ok(&user))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::user;
    use functions::users::User;
    let schema = schemas.answer::<User>();
    operation
        .registered()
        .reads()
        .answers(200, "The user", &[], schema, user())
});
