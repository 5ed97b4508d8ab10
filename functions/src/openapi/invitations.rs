//! The operations of [`invitations`](crate::invitations).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use super::users;
use crate::Success;
use crate::invitations::{Acceptance, Accepted, Body, Invitation, Invited, Places, Received};
use shared::http::Error;

/// Seed data: an invitation of the caller's, and the token of its link.
const SENT: &str = "01900000-0000-7000-8000-000000000401";
const TOKEN: &str = "development-invitation";

const ADMIN_SEES: &str = "Only the admin of a team may see its invitations.";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (invitation, invited) = (schemas.answer::<Invitation>(), schemas.answer::<Invited>());
    let (places, received) = (schemas.answer::<Places>(), schemas.answer::<Received>());
    let (accepted, success) = (schemas.answer::<Accepted>(), schemas.answer::<Success>());
    let body = schemas.request::<Body>("The invited person.");
    let acceptance = schemas.request::<Acceptance>("The token of the link; `clerkId` is the caller's own, if given.");
    let list = |items: &Value| json!({"type": "array", "items": items});
    vec![
        operation!("invitations-create")
            .registered()
            .body(body, true, json!({"email": "invited@example.com"}))
            .keyed()
            .refuses(Error::forbidden("Only an admin may invite somebody."))
            // A replay by a caller who has lost the admin role.
            .refuses(Error::not_found("invitation"))
            .refuses(Error::conflict("Somebody with this address is on your team already."))
            .refuses(Error::conflict(
                "Your team is full: cancel an invitation or remove a member first.",
            ))
            .answers(
                201,
                "The invitation, which is renewed if the address had one",
                &[],
                invited,
                created(),
            ),
        operation!("invitations-status")
            .registered()
            .reads()
            .refuses(Error::forbidden(ADMIN_SEES))
            .answers(200, "The places of the team", &[], places, status()),
        operation!("invitations-list")
            .registered()
            .reads()
            .refuses(Error::forbidden(ADMIN_SEES))
            .answers(200, "The invitations", &[], list(&invitation), json!([example()])),
        operation!("invitations-cancel")
            .registered()
            .id("id", "The invitation", SENT)
            .keyed()
            .refuses(Error::forbidden("Only the admin of a team may cancel its invitations."))
            .refuses(Error::not_found("invitation"))
            .refuses(Error::conflict("It was accepted: remove the member instead."))
            .answers(200, "Cancelled", &[], success.clone(), json!({"success": true})),
        accepts(
            operation!("invitations-accept")
                .registered()
                .body(acceptance, true, json!({"token": TOKEN})),
        )
        .refuses(Error::forbidden("clerkId must be the sub of your own token."))
        .answers(200, "The caller is on the team", &[], accepted.clone(), joined()),
        unverified(operation!("invitations-received").registered().reads()).answers(
            200,
            "The invitations",
            &[],
            list(&received),
            json!([{
                "id": SENT,
                "invitedBy": "Avery Adams",
                "invitedByEmail": "admin@example.com",
                "createdAt": "2026-03-02T09:30:00.123456Z",
                "expires": "2026-03-09T09:30:00.123456Z",
            }]),
        ),
        unverified(accepts(operation!("invitations-join").registered().id(
            "id",
            "The invitation",
            SENT,
        )))
        .answers(200, "The caller is on the team", &[], accepted, joined()),
        unverified(
            operation!("invitations-decline")
                .registered()
                .id("id", "The invitation", SENT)
                .keyed(),
        )
        .refuses(Error::not_found("invitation"))
        .answers(200, "Declined", &[], success, json!({"success": true})),
    ]
}

/// Adds what the two ways to accept have in common.
fn accepts(operation: Operation) -> Operation {
    operation
        .keyed()
        .refuses(Error::not_found("invitation"))
        .refuses(Error::conflict(
            "Only the admin of an empty team without meetings can join another; a member leaves theirs first.",
        ))
        .refuses(Error::conflict("The team is full: ask its admin for a place."))
}

/// Adds the refusal of a caller whose address decides.
fn unverified(operation: Operation) -> Operation {
    operation.refuses(Error::forbidden(
        "Your token states no verified address: verify it where you sign in, then sign in again.",
    ))
}

fn example() -> Value {
    json!({
        "id": SENT,
        "email": "invited@example.com",
        "status": "pending",
        "createdAt": "2026-03-02T09:30:00.123456Z",
        "updatedAt": "2026-03-02T09:30:00.123456Z",
        "expires": "2026-03-09T09:30:00.123456Z",
    })
}

fn status() -> Value {
    json!({"canInvite": true, "currentCount": 1, "pendingInvitations": 1, "remainingInvites": 1})
}

fn created() -> Value {
    let mut example = example();
    example["success"] = true.into();
    example["message"] =
        "Give the person the link /invite?token=TOKEN of the app, or ask them to look at their invitations.".into();
    example["inviteStatus"] = status();
    example["token"] = "mY0wY3v7m0bq2v1d6a1yQ0m9m1i4c8qk3o7f5r2t6zU".into();
    example
}

fn joined() -> Value {
    let mut user = users::example();
    user["role"] = "user".into();
    user["adminId"] = "01900000-0000-7000-8000-000000000003".into();
    json!({"success": true, "message": "You are on the team now.", "user": user})
}
