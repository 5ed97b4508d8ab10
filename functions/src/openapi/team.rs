//! The operations of [`team`](crate::team).

use serde_json::json;

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use super::users::{MEMBER, colleague};
use crate::Success;
use crate::users::{Colleague, Contact};
use shared::http::Error;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let members = json!({"type": "array", "items": schemas.answer::<Colleague>()});
    let teammates = json!({"type": "array", "items": schemas.answer::<Contact>()});
    let success = schemas.answer::<Success>();
    let teammate =
        json!({"id": "01900000-0000-7000-8000-000000000001", "name": "Avery Adams", "email": "admin@example.com"});
    vec![
        operation!("team-get")
            .registered()
            .reads()
            .answers(200, "The caller first", &[], teammates, json!([teammate])),
        operation!("team-members")
            .registered()
            .reads()
            .refuses(Error::forbidden("Only the admin of a team may list its members."))
            .answers(200, "The members", &[], members, json!([colleague()])),
        operation!("team-remove")
            .registered()
            .id("id", "The member", MEMBER)
            .keyed()
            .refuses(Error::forbidden("Only the admin of a team may remove its members."))
            .refuses(Error::not_found("team member"))
            .answers(200, "Removed", &[], success, json!({"success": true})),
    ]
}
