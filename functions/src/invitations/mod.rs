//! Invitations: how a person gets onto an admin's team, with the consent of both.
//!
//! Invariants: a person joins a team only by accepting an invitation; a team, with its admin and its live invitations,
//! has at most [`TEAM_SIZE`] people; an admin learns nothing about people of other teams; the token of a link is stored
//! only as a digest. Depends on: the index `invitations_pending`: one pending invitation per address and admin.
//!
//! `create` and `accept` lock the users' rows, and decide in a second statement: a statement that waited for a lock
//! would count the rows as they were before the wait.

mod accept;
mod address;
mod create;
mod token;

pub use accept::{Acceptance, Accepted, Chosen, Received, accept, accepted, decline, declined, received};
pub use create::{Body, Draft, Invited, create, created};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::ids::InvitationId;
use crate::permission::{require_admin, require_admin_still};
use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Caller, Error};
use shared::write_query;

/// The most people on a team: its admin, the members, and the invited people. A constant and no setting, because nobody
/// needs another number.
pub const TEAM_SIZE: i64 = 4;

/// The status of an invitation. One that is cancelled or declined is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InvitationStatus))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can be accepted until it expires.
    Pending,
    /// The invited person has accepted it.
    Accepted,
}

/// An invitation, visible to the admin who sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Invitation {
    /// UUIDv7.
    pub id: Uuid,
    /// The invited address, with its ASCII letters in lower case.
    pub email: String,
    /// The status.
    pub status: Status,
    /// When the address was first invited.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    #[serde(with = "shared::stored::time")]
    pub updated_at: DateTime<Utc>,
    /// When it expires: seven days after the last time that the address was invited.
    #[serde(rename(serialize = "expires"), with = "shared::stored::time")]
    #[cfg_attr(feature = "openapi", schema(rename = "expires"))]
    pub expires_at: DateTime<Utc>,
}

/// How many more people an admin may invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InviteStatus, rename_all = "camelCase"))]
#[serde(rename_all = "camelCase")]
pub struct Places {
    /// Whether there is a free place.
    pub can_invite: bool,
    /// The number of members, without the admin.
    pub current_count: i64,
    /// The number of invitations that are pending and have not expired.
    pub pending_invitations: i64,
    /// The number of free places.
    pub remaining_invites: i64,
}

impl Places {
    fn of(members: i64, pending: i64) -> Self {
        let free = (TEAM_SIZE - 1 - members - pending).max(0);
        Self {
            can_invite: free > 0,
            current_count: members,
            pending_invitations: pending,
            remaining_invites: free,
        }
    }
}

/// Returns how many more people the caller may invite.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin.
pub async fn places(db: &mut Session, caller: &Caller) -> Result<Places, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT
            role = 'admin' AS "admin!",
            (SELECT count(*) FROM users m WHERE m.admin_id = u.id) AS "members!",
            (
                SELECT count(*) FROM invitations i
                WHERE i.admin_id = u.id AND i.status = 'pending' AND i.expires_at > now()
            ) AS "pending!"
        FROM users u WHERE clerk_id = $1
        "#,
        caller.sub,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    require_admin(row.admin, "Only the admin of a team may see its invitations.")?;
    Ok(Places::of(row.members, row.pending))
}

/// Returns the caller's invitations that are pending and have not expired, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin.
pub async fn sent(db: &mut Session, caller: &Caller) -> Result<Vec<Invitation>, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT
            role = 'admin' AS "admin!",
            (
                SELECT coalesce(jsonb_agg(to_jsonb(i) - 'token_hash' ORDER BY i.created_at DESC, i.id DESC), '[]')
                FROM invitations i
                WHERE i.admin_id = u.id AND i.status = 'pending' AND i.expires_at > now()
            ) AS "invitations!: Json<Vec<Invitation>>"
        FROM users u WHERE clerk_id = $1
        "#,
        caller.sub,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    require_admin(row.admin, "Only the admin of a team may see its invitations.")?;
    Ok(row.invitations.0)
}

/// Deletes a pending invitation of the caller, expired or not: its link works no more.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin, 404 unless they sent it, 409 if it was
/// accepted.
pub async fn cancel(db: &mut Session, attempt: &WriteAttempt, caller: &Caller, id: InvitationId) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, role = 'admin' AS admin FROM users, known WHERE clerk_id = $5 AND clear
        ), invitation AS (
            SELECT i.id, i.status = 'pending' AS pending
            FROM invitations i JOIN caller c ON c.admin AND c.id = i.admin_id
            WHERE i.id = $6
            FOR UPDATE OF i
        ), deleted AS (
            DELETE FROM invitations USING invitation i WHERE invitations.id = i.id AND i.pending
            RETURNING invitations.id
        ), changed AS (
            SELECT 'invitation' AS kind, id, NULL::integer AS version, 200 AS status FROM deleted
        )"#,
        r#"c.admin AS "admin?", i.pending AS "pending?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN invitation i ON true"#,
        caller.sub,
        id.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    require_admin(row.admin.ok_or_else(Error::unknown_caller)?, CANCEL_REFUSAL)?;
    if !row.pending.ok_or_else(|| Error::not_found("invitation"))? {
        return Err(Error::conflict("It was accepted: remove the member instead.").into());
    }
    Ok(())
}

/// Checks that the caller still leads a team, for a replay: the invitation is gone.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403.
pub async fn canceled(db: &mut Session, caller: &Caller) -> Result<(), Abort> {
    require_admin_still(db, caller, CANCEL_REFUSAL).await
}

const CANCEL_REFUSAL: &str = "Only the admin of a team may cancel its invitations.";
