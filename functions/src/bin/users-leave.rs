//! `POST /api/users/me/leave`, rarely: takes the caller off the team; they then lead an empty one.
//! Safe to repeat: a former member gets 409.

use std::process::ExitCode;

use functions::{SERVICE, example_event};
use functions::{team, users};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/me/leave", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    request
        .write(
            caller,
            async |db, attempt, caller| team::leave(db, attempt, caller).await,
            async |db, _, caller| users::me(db, caller).await,
            |user| Response::ok(&user),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::user;
    use functions::users::User;
    let schema = schemas.answer::<User>();
    operation
        .registered()
        .keyed()
        .refuses(Error::conflict("You lead your own team: only a member can leave one."))
        .answers(200, "The caller, who leads an empty team now", &[], schema, user())
});
