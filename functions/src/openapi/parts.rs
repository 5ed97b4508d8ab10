//! Parts of a description that several routes share.

use serde_json::json;

use super::Operation;
use super::Schemas;
use super::examples::MEMBER;
use crate::key_areas::{Draft, KeyArea};
use crate::meetings::{Status, Time};
use shared::http::Error;
use shared::text::Id;

/// Describes the parameters and problems of a request for the analyses of a member.
pub fn analyses_of_member(operation: Operation) -> Operation {
    operation
        .registered()
        .id("userId", "The member", MEMBER)
        .reads()
        .refuses(Error::not_found("user"))
        .refuses(Error::forbidden(
            "Only the member and the admin of their team may read analyses.",
        ))
}

/// Describes a list of the meetings that the caller may see, with its filters.
pub fn filtered_meetings(operation: Operation) -> Operation {
    operation
        .registered()
        .paged()
        .query::<Status>("status", "Only meetings with this status.")
        .query::<Id>("teamMemberId", "Only meetings with this team member.")
        .query::<Time>("from", "The earliest date, inclusive.")
        .query::<Time>("to", "The latest date, inclusive.")
        .reads()
}

/// Adds the key and the problems of a request that accepts an invitation.
pub fn accepts_invitation(operation: Operation) -> Operation {
    operation
        .keyed()
        .refuses(Error::not_found("invitation"))
        .refuses(Error::conflict(
            "Only the admin of an empty team without meetings can join another; a member leaves theirs first.",
        ))
        .refuses(Error::conflict("The team is full: ask its admin for a place."))
}

/// Adds the problem of a caller without a verified address, if the address decides what they may see.
pub fn needs_verified_address(operation: Operation) -> Operation {
    operation.refuses(Error::forbidden(
        "Your token states no verified address: verify it where you sign in, then sign in again.",
    ))
}

/// Adds the texts of a key area as the body, and the problems of writing them under a key.
pub fn writes_key_area(operation: Operation, schemas: &mut Schemas) -> Operation {
    let draft = schemas.draft::<Draft, KeyArea>("The texts of a key area. Spaces around them are not stored.", &[]);
    let example = json!({"name": "Documentation", "description": "Every runbook is tried out once a quarter"});
    operation
        .body(draft, true, example)
        .keyed()
        .refuses(Error::not_found("user"))
        // In a creation: a replay after the key area was deleted.
        .refuses(Error::not_found("key area"))
}
