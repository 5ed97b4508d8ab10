//! The operations of [`key_areas`](crate::key_areas).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::Success;
use crate::key_areas::{Draft, KeyArea};
use shared::http::Error;

const USER: &str = "The member it is about";
const AREA: &str = "The key area";
/// Seed data: the member, and their key areas to be changed and deleted.
const MEMBER: &str = "01900000-0000-7000-8000-000000000002";
const CHANGED: &str = "01900000-0000-7000-8000-000000000501";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (area, areas) = (schemas.answer::<KeyArea>(), schemas.list::<KeyArea>());
    let draft = schemas.request::<Draft>("The texts of a key area. Spaces around them are not stored.");
    schemas.describe("KeyAreaDraft", "KeyArea");
    let success = schemas.answer::<Success>();
    let body = || json!({"name": "Documentation", "description": "Every runbook is tried out once a quarter"});
    vec![
        operation!("key-areas-list")
            .registered()
            .id("id", USER, MEMBER)
            .paged()
            .reads()
            .refuses(Error::not_found("user"))
            .refuses(Error::forbidden(
                "Only the member and the admin of their team may read key areas.",
            ))
            .answers_page(areas, example()),
        operation!("key-areas-create")
            .registered()
            .id("id", USER, MEMBER)
            .body(draft.clone(), true, body())
            .keyed()
            .refuses(Error::not_found("user"))
            // A replay after the key area was deleted.
            .refuses(Error::not_found("key area"))
            .refuses(Error::forbidden("Only an admin may add key areas."))
            .answers(
                201,
                "The key area",
                &[("Location", "Location")],
                area.clone(),
                example(),
            ),
        operation!("key-areas-update")
            .registered()
            .id("id", USER, MEMBER)
            .id("areaId", AREA, CHANGED)
            .body(draft, true, body())
            .keyed()
            .refuses(Error::not_found("user"))
            .refuses(Error::not_found("key area"))
            .refuses(Error::forbidden("Only an admin may change key areas."))
            .answers(200, "The key area as it is now", &[], area, example()),
        operation!("key-areas-delete")
            .registered()
            .id("id", USER, MEMBER)
            .id("areaId", AREA, CHANGED)
            .keyed()
            .refuses(Error::not_found("user"))
            .refuses(Error::not_found("key area"))
            .refuses(Error::forbidden("Only an admin may delete key areas."))
            .answers(200, "It is gone", &[], success, json!(Success::DONE)),
    ]
}

fn example() -> Value {
    json!({
        "id": CHANGED,
        "name": "Documentation",
        "description": "Every runbook is tried out once a quarter",
        "userId": MEMBER,
        "createdById": "01900000-0000-7000-8000-000000000001",
        "createdBy": {
            "id": "01900000-0000-7000-8000-000000000001",
            "name": "Avery Adams",
            "email": "admin@example.com",
        },
        "createdAt": "2026-03-02T09:30:00.123456Z",
        "updatedAt": "2026-03-02T09:30:00.123456Z",
    })
}
