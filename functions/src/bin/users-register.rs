//! `POST /api/users/register`: creates the caller's user from the token's claims, or finds it.
//! Safe to repeat: a subject has one row, and its id is made before the first attempt.

use std::process::ExitCode;

use functions::users::{self, Profile, Registered, Registration};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/users/register", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let registration = Registration::of(&caller)?;
    if !request.body().is_empty() {
        request.json::<Profile>()?;
    }
    request
        .write(
            (caller, registration),
            async |db, attempt, (_, registration)| users::register(db, attempt, registration).await,
            async |db, _, (caller, _)| users::me(db, caller).await.map(Registered::Now),
            |registered| match registered {
                Registered::Now(user) => Response::created(&user).at("/api/users/me"),
                Registered::Before(user) => Response::ok(&user),
            },
        )
        .await
}
