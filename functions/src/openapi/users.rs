//! The operations of [`users`](crate::users) and [`invitations`](crate::invitations).

use serde_json::{Value, json};

use super::operation::Operation;
use super::schemas::Schemas;
use crate::invitations::{self, Invitation};
use crate::users::{NoFields, User};
use shared::http::Error;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (user, nothing) = (
        schemas.answer::<User>(),
        schemas.request::<NoFields>("Nothing: everything is in the token."),
    );
    let (invitation, draft) = (
        schemas.answer::<Invitation>(),
        schemas.request::<invitations::Draft>("The invited person."),
    );
    vec![
        Operation::new(
            "users-register",
            "POST /api/users/register",
            "Creates the caller's user from the token's claims, or finds it.",
            "a subject has one row, and its id is made before the first attempt.",
        )
        .body(nothing, false, json!({}))
        .keyed()
        .refuses(Error::field(
            "email",
            "must be a claim of the token, of at most 255 characters",
        ))
        .answers(
            201,
            "The user, who is new",
            &[("Location", "Location")],
            user.clone(),
            example(),
        )
        .answers(200, "The user, who was registered before", &[], user.clone(), example()),
        Operation::new(
            "users-me",
            "GET /api/users/me",
            "The caller's own user.",
            "it only reads.",
        )
        .registered()
        .reads()
        .answers(200, "The user", &[], user, example()),
        Operation::new(
            "invitations-create",
            "POST /api/users/invite",
            "Invites an address to the caller's team.",
            "an address has one pending invitation to a team.",
        )
        .registered()
        .body(draft, true, json!({"email": "invited@example.com"}))
        .keyed()
        .refuses(Error::forbidden("Only an admin may invite somebody."))
        // A replay by a caller who has lost the admin role.
        .refuses(Error::not_found("invitation"))
        .refuses(Error::conflict("Somebody with this address is on your team already."))
        .answers(
            201,
            "The invitation, or the one that is pending already",
            &[],
            invitation,
            json!({
                "id": "01900000-0000-7000-8000-000000000401",
                "email": "invited@example.com",
                "status": "pending",
                "createdAt": "2026-03-02T09:30:00.123456Z",
            }),
        ),
    ]
}

fn example() -> Value {
    json!({
        "id": "01900000-0000-7000-8000-000000000001",
        "email": "admin@example.com",
        "name": "Avery Adams",
        "role": "admin",
        "clerkId": "dev-admin",
        "adminId": null,
        "createdAt": "2026-03-02T09:30:00.123456Z",
        "updatedAt": "2026-03-02T09:30:00.123456Z",
    })
}
