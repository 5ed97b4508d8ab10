//! The operations of an invited person: listing their invitations, accepting one, declining one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::{TEAM_SIZE, token};
use crate::ids::InvitationId;
use crate::users::{self, User};
use shared::db::{Change, Session, WriteAttempt};
use shared::http::{Abort, Caller, Error};
use shared::text::Text;
use shared::write_query;

/// An invitation as the invited person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ReceivedInvitation, rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Received {
    /// UUIDv7.
    pub id: Uuid,
    /// The name of the admin who sent it.
    pub invited_by: String,
    /// The address of the admin who sent it.
    pub invited_by_email: String,
    /// When the address was first invited.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// When it expires.
    #[serde(with = "shared::stored::time")]
    pub expires: DateTime<Utc>,
}

/// The body of an acceptance by link.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acceptance {
    token: Text<200>,
    clerk_id: Option<Text<255>>,
}

impl Acceptance {
    /// Returns the invitation of the link.
    ///
    /// # Errors
    /// Fails with 403 if the body names another subject than the token of the request.
    pub fn by(self, caller: &Caller) -> Result<Chosen, Error> {
        if self.clerk_id.is_some_and(|named| named.as_str() != caller.sub) {
            return Err(Error::forbidden("clerkId must be the sub of your own token."));
        }
        Ok(Chosen {
            token_hash: Some(token::digest(self.token.as_str())),
            id: None,
            email: None,
        })
    }
}

/// The invitation that is to be accepted: by the token of its link, or by its id from the person's own list.
#[derive(Debug)]
pub struct Chosen {
    token_hash: Option<Vec<u8>>,
    id: Option<Uuid>,
    email: Option<String>,
}

impl Chosen {
    /// Chooses an invitation to the caller's verified address.
    ///
    /// # Errors
    /// Fails with 403 if the token states no verified address.
    pub fn to(caller: &Caller, id: InvitationId) -> Result<Self, Error> {
        Ok(Self {
            token_hash: None,
            id: Some(id.0),
            email: Some(verified(caller)?.to_owned()),
        })
    }
}

fn verified(caller: &Caller) -> Result<&str, Error> {
    caller.verified_email().ok_or_else(|| {
        Error::forbidden("Your token states no verified address: verify it where you sign in, then sign in again.")
    })
}

/// The answer to an acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// Always true.
    success: bool,
    /// In words.
    message: &'static str,
    /// The caller, who is on the team now.
    user: User,
}

impl Accepted {
    fn of(user: User) -> Self {
        Self {
            success: true,
            message: "You are on the team now.",
            user,
        }
    }
}

/// Returns the invitations to the caller's verified address that are pending and have not expired, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 without a verified address.
pub async fn received(db: &mut Session, caller: &Caller) -> Result<Vec<Received>, Abort> {
    let received = sqlx::query_scalar!(
        r#"
        SELECT (
            SELECT coalesce(jsonb_agg(jsonb_build_object(
                'id', i.id, 'invited_by', a.name, 'invited_by_email', a.email, 'created_at', i.created_at,
                'expires', i.expires_at
            ) ORDER BY i.created_at DESC, i.id DESC), '[]')
            FROM invitations i JOIN users a ON a.id = i.admin_id AND a.role = 'admin'
            WHERE i.email = $2 AND i.status = 'pending' AND i.expires_at > now()
        ) AS "received!: Json<Vec<Received>>"
        FROM users u WHERE clerk_id = $1
        "#,
        caller.sub,
        caller.verified_email(),
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    verified(caller)?;
    Ok(received.0)
}

/// Accepts an invitation: the caller becomes a member of the inviting admin's team. Their own pending invitations are
/// withdrawn.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 if there is no such invitation, or it expired, or somebody else
/// accepted it, and 409 if the caller is on another team, leads people, has created meetings, or the team is full.
pub async fn accept(db: &mut Session, caller: &Caller, chosen: &Chosen) -> Result<(Accepted, Option<Change>), Abort> {
    // Both rows in the order of their ids, so that two admins who accept each other's invitation do not deadlock. What
    // makes the caller's team not empty, a meeting or a member, holds a key share lock on their row.
    sqlx::query!(
        "SELECT FROM users WHERE clerk_id = $1 OR id = (
            SELECT admin_id FROM invitations WHERE token_hash = $2 OR id = $3 AND email = $4
        ) ORDER BY id FOR UPDATE",
        caller.sub,
        chosen.token_hash as _,
        chosen.id,
        chosen.email,
    )
    .execute(&mut *db)
    .await?;
    let row = sqlx::query!(
        r#"
        WITH invitation AS (
            SELECT * FROM invitations WHERE token_hash = $2 OR id = $3 AND email = $4 FOR UPDATE
        ), verdict AS (
            SELECT
                i.id AS invitation, i.admin_id AS admin, c.id,
                c.admin_id = i.admin_id AND (i.status = 'pending' OR i.accepted_by = c.id) AS before,
                i.status = 'pending' AND i.expires_at > statement_timestamp() AND a.role = 'admin' AS valid,
                c.id = i.admin_id OR c.role <> 'admin'
                    OR EXISTS (SELECT FROM users m WHERE m.admin_id = c.id)
                    OR EXISTS (SELECT FROM meetings m WHERE m.team_id = c.id)
                    OR EXISTS (SELECT FROM meetings m WHERE m.created_by = c.id) AS bound,
                1 + (SELECT count(*) FROM users m WHERE m.admin_id = i.admin_id) >= $5 AS full
            FROM invitation i JOIN users a ON a.id = i.admin_id JOIN users c ON c.clerk_id = $1
        ), joined AS (
            UPDATE users u SET role = 'user', admin_id = v.admin, updated_at = statement_timestamp()
            FROM verdict v WHERE u.id = v.id AND v.valid AND NOT v.bound AND NOT v.full
            RETURNING u.*
        ), accepted AS (
            UPDATE invitations SET status = 'accepted', accepted_by = j.id, updated_at = statement_timestamp()
            FROM verdict v, joined j WHERE invitations.id = v.invitation
        ), withdrawn AS (
            DELETE FROM invitations USING joined j WHERE invitations.admin_id = j.id AND status = 'pending'
        )
        SELECT
            to_jsonb(c) AS "caller!: Json<User>", v.invitation AS "invitation?", v.before AS "before?",
            v.valid AS "valid?", v.bound AS "bound?", to_jsonb(j) AS "joined: Json<User>"
        FROM users c LEFT JOIN verdict v ON true LEFT JOIN joined j ON true
        WHERE c.clerk_id = $1
        "#,
        caller.sub,
        chosen.token_hash as _,
        chosen.id,
        chosen.email,
        TEAM_SIZE,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    if row.before == Some(true) {
        return Ok((Accepted::of(row.caller.0), None));
    }
    let id = row.invitation.filter(|_| row.valid == Some(true));
    let id = id.ok_or_else(|| Error::not_found("invitation"))?;
    if row.bound == Some(true) {
        let bound = "Only the admin of an empty team without meetings can join another; a member leaves theirs first.";
        return Err(Error::conflict(bound).into());
    }
    let full = || Error::conflict("The team is full: ask its admin for a place.");
    let user = row.joined.ok_or_else(full)?.0;
    let change = Change {
        kind: "invitation",
        id,
        version: None,
        status: 200,
    };
    Ok((Accepted::of(user), Some(change)))
}

/// Returns the caller as they are now, after an acceptance under the same key.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 if the caller is no longer on the team.
pub async fn accepted(db: &mut Session, caller: &Caller, id: InvitationId) -> Result<Accepted, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT to_jsonb(u) AS "user!: Json<User>", i.id AS "invitation?"
        FROM users u LEFT JOIN invitations i ON i.id = $2 AND i.accepted_by = u.id AND i.admin_id = u.admin_id
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        id.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    row.invitation.ok_or_else(|| Error::not_found("invitation"))?;
    Ok(Accepted::of(row.user.0))
}

/// Deletes a pending invitation to the caller's verified address.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 without a verified address, 404 if there is none of this id.
pub async fn decline(db: &mut Session, attempt: &WriteAttempt, caller: &Caller, id: InvitationId) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id FROM users, known WHERE clerk_id = $5 AND clear
        ), deleted AS (
            DELETE FROM invitations i USING caller
            WHERE i.id = $6 AND i.email = $7 AND i.status = 'pending'
            RETURNING i.id
        ), changed AS (
            SELECT 'invitation' AS kind, id, NULL::integer AS version, 200 AS status FROM deleted
        )"#,
        r#"c.id AS "caller?", d.id AS "deleted?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN deleted d ON true"#,
        caller.sub,
        id.0,
        caller.verified_email(),
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    verified(caller)?;
    row.deleted.ok_or_else(|| Error::not_found("invitation"))?;
    Ok(())
}

/// Checks that the caller still has an account and a verified address, for a replay: the invitation is gone.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 without a verified address.
pub async fn declined(db: &mut Session, caller: &Caller) -> Result<(), Abort> {
    users::me(db, caller).await?;
    verified(caller)?;
    Ok(())
}
