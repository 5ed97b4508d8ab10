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

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::user;
    use functions::users::User;
    use serde_json::json;
    let profile = schemas.request::<Profile>("Accepted and ignored: the token's claims identify the caller.");
    let schema = schemas.answer::<User>();
    operation
        .body(
            profile,
            false,
            json!({"email": "newcomer@example.com", "name": "Nico Newman"}),
        )
        .keyed()
        .refuses(Error::field(
            "email",
            "must be a claim of the token, of at most 255 characters",
        ))
        .answers(
            201,
            "The user, who is new",
            &[("Location", "Location")],
            schema.clone(),
            user(),
        )
        .answers(200, "The user, who was registered before", &[], schema, user())
});
