//! `POST /api/users/register`: creates the caller's user from the token's claims, or finds it.
//! Safe to repeat: a subject has one row, and its id is made before the first attempt.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::users::{self, NoFields, Registered, Registration};

fn main() -> ExitCode {
    run("POST /api/users/register", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let registration = Registration::of(request.caller()?)?;
    if !request.body().is_empty() {
        request.json::<NoFields>()?;
    }
    request
        .write(async move |db| {
            Ok(match users::register(db, &registration).await? {
                Registered::Now(user) => Response::created(&user).at("/api/users/me"),
                Registered::Before(user) => Response::ok(&user),
            })
        })
        .await
}
