//! The operations of [`users`](crate::users) and [`invitations`](crate::invitations).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::invitations::{self, Invitation};
use crate::users::{Colleague, NoFields, User};
use shared::http::Error;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (user, nothing) = (
        schemas.answer::<User>(),
        schemas.request::<NoFields>("Nothing: everything is in the token."),
    );
    let team = schemas.list::<Colleague>();
    let (invitation, draft) = (
        schemas.answer::<Invitation>(),
        schemas.request::<invitations::Draft>("The invited person."),
    );
    vec![
        operation!("users-register")
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
        operation!("users-me")
            .registered()
            .reads()
            .answers(200, "The user", &[], user, example()),
        operation!("users-list")
            .registered()
            .reads()
            .answers(200, "The team", &[], team, json!([colleague()])),
        operation!("invitations-create")
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

fn colleague() -> Value {
    let mut user = example();
    if let Some(members) = user.as_object_mut() {
        members.remove("clerkId");
    }
    user["lastAnalyzedAt"] = json!("2026-03-02T10:05:12.654321Z");
    user
}
