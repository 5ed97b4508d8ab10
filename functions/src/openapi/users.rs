//! The operations of [`users`](crate::users).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::clerk;
use crate::meetings::webhook::Receipt;
use crate::users::{Colleague, Profile, User};
use shared::http::Error;

/// Seed data: a member of the caller's team.
pub(super) const MEMBER: &str = "01900000-0000-7000-8000-000000000002";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (user, profile) = (
        schemas.answer::<User>(),
        schemas.request::<Profile>("Accepted and ignored: the token's claims identify the caller."),
    );
    let one = schemas.answer::<Colleague>();
    let team = json!({"type": "array", "items": one});
    vec![
        clerk(schemas),
        operation!("users-register")
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
                user.clone(),
                example(),
            )
            .answers(200, "The user, who was registered before", &[], user.clone(), example()),
        operation!("users-me")
            .registered()
            .reads()
            .answers(200, "The user", &[], user.clone(), example()),
        operation!("users-list")
            .registered()
            .reads()
            .answers(200, "The team", &[], team, json!([colleague()])),
        operation!("users-get")
            .registered()
            .id("id", "The user", MEMBER)
            .reads()
            .refuses(Error::not_found("user"))
            .answers(200, "The user", &[], one, colleague()),
        operation!("users-leave")
            .registered()
            .keyed()
            .refuses(Error::conflict("You lead your own team: only a member can leave one."))
            .answers(200, "The caller, who leads an empty team now", &[], user, example()),
    ]
}

fn clerk(schemas: &mut Schemas) -> Operation {
    let receipt = schemas.answer::<Receipt>();
    let id = json!({"type": "string"});
    let time = json!({
        "oneOf": [
            {"type": "integer", "format": "int64", "minimum": 0, "maximum": 253_402_300_799_999_i64},
            {"type": "string", "pattern": "^[0-9]{1,14}$"},
        ],
        "description": "A Unix time in milliseconds.",
    });
    let mut object = |name: &str, properties: Value, required: &[&str]| {
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schemas.component(name, schema)
    };
    // Each object is a component, because generators name it.
    let user = object(
        "ClerkUser",
        json!({
            "id": id,
            "first_name": {"description": "Text."},
            "last_name": {"description": "Text."},
            "primary_email_address_id": {"description": "The `id` of one of the addresses."},
            "email_addresses": {"description": "Objects `{id, email_address, verification: {status}}`."},
            "updated_at": time,
        }),
        &["id", "updated_at"],
    );
    let gone = object("ClerkDeletedUser", json!({"id": id}), &["id"]);
    let known = ["user.updated", "user.deleted"];
    let only = |kind: &str| json!({"type": "string", "enum": [kind]});
    let updated = object(
        "ClerkUserUpdated",
        json!({"type": only(known[0]), "data": user}),
        &["type", "data"],
    );
    let deleted = object(
        "ClerkUserDeleted",
        json!({"type": only(known[1]), "data": gone}),
        &["type", "data"],
    );
    let other = object(
        "ClerkOtherEvent",
        json!({"type": {"type": "string", "not": {"enum": known}}}),
        &["type"],
    );
    let body = schemas.component(
        "ClerkEvent",
        json!({
            "description": "An event of the identity provider. Of a changed account only its id and the time are \
                required: members that cannot be read are skipped. Other types are acknowledged and ignored.",
            "oneOf": [updated, deleted, other],
        }),
    );
    operation!("clerk-webhook")
        .public()
        .header(
            "svix-id",
            "The event's id, the same for each retry (or `webhook-id`).",
            "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        )
        .header(
            "svix-timestamp",
            "When it was sent: Unix time in seconds, at most five minutes off (or `webhook-timestamp`).",
            "1767258000",
        )
        .header(
            "svix-signature",
            "HMAC-SHA256 with the secret over id, timestamp and raw body (or `webhook-signature`).",
            "v1,57YwqnFhyVZ7mr8jC96NLyOXdWktDF0od7WjSU1Ovek=",
        )
        .body(
            body,
            true,
            json!({
                "type": "user.updated",
                "data": {
                    "id": "dev-member",
                    "first_name": "Morgan",
                    "last_name": "Meyer",
                    "primary_email_address_id": "idn_1",
                    "email_addresses": [{
                        "id": "idn_1",
                        "email_address": "morgan@example.com",
                        "verification": {"status": "verified"},
                    }],
                    "updated_at": 1_767_258_000_000_u64,
                },
            }),
        )
        .writes()
        .refuses(Error::unauthorized(clerk::REFUSED))
        .answers(
            200,
            "It is applied, or ignored",
            &[],
            receipt,
            json!({"received": true}),
        )
}

pub(super) fn example() -> Value {
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

pub(super) fn colleague() -> Value {
    let mut user = example();
    if let Some(members) = user.as_object_mut() {
        members.remove("clerkId");
    }
    user["lastAnalyzedAt"] = json!("2026-03-02T10:05:12.654321Z");
    user
}
