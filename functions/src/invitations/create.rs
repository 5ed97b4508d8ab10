//! Inviting an address.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::address::Email;
use super::token::Token;
use super::{Invitation, Places, Status, TEAM_SIZE};
use crate::ids::InvitationId;
use crate::permission::require_admin;
use shared::db::{Change, Session};
use shared::http::{Abort, Caller, Error};

/// The body of an invitation.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InvitationDraft))]
#[serde(deny_unknown_fields)]
pub struct Body {
    email: Email,
}

/// A new invitation, with its id and its token: made once, so that the create can be retried.
#[derive(Debug)]
pub struct Draft {
    id: Uuid,
    email: Email,
    token: Token,
}

impl Draft {
    /// Makes a draft of the body.
    ///
    /// # Errors
    /// Fails with 500 if the operating system has no random bytes.
    pub fn of(body: Body) -> Result<Self, Error> {
        Ok(Self {
            id: Uuid::now_v7(),
            email: body.email,
            token: Token::random()?,
        })
    }
}

/// An invitation for the admin who sent it, with its token if this request made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    /// UUIDv7.
    id: Uuid,
    /// The invited address, with its ASCII letters in lower case.
    email: String,
    /// The status.
    status: Status,
    /// When the address was first invited.
    #[serde(serialize_with = "shared::stored::time::serialize")]
    created_at: DateTime<Utc>,
    /// The time of the last change.
    #[serde(serialize_with = "shared::stored::time::serialize")]
    updated_at: DateTime<Utc>,
    /// When it expires.
    #[serde(serialize_with = "shared::stored::time::serialize")]
    expires: DateTime<Utc>,
    /// Always true.
    success: bool,
    /// What to do next.
    message: &'static str,
    /// How many more people can be invited now.
    invite_status: Places,
    /// The secret of the link that the invited person accepts with. It is shown once, because only its digest is
    /// stored: null in a replay. Inviting the address again makes a new one, and the previous one stops working.
    token: Option<String>,
}

impl Invited {
    fn of(invitation: Invitation, invite_status: Places, token: Option<String>) -> Self {
        let message = if token.is_some() {
            "Give the person the link /invite?token=TOKEN of the app, or ask them to look at their invitations."
        } else {
            "The link was shown before: invite the address again for a new one."
        };
        Self {
            id: invitation.id,
            email: invitation.email,
            status: invitation.status,
            created_at: invitation.created_at,
            updated_at: invitation.updated_at,
            expires: invitation.expires_at,
            success: true,
            message,
            invite_status,
            token,
        }
    }
}

/// Invites an address to the caller's team. Renews the invitation that the address has already: its expiry and its
/// token.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin, 409 if the person is on the team or the team
/// is full.
pub async fn create(db: &mut Session, caller: &Caller, draft: &Draft) -> Result<(Invited, Option<Change>), Abort> {
    // Two invitations to one team wait for each other, and for a person accepting one.
    sqlx::query!("SELECT FROM users WHERE clerk_id = $1 FOR NO KEY UPDATE", caller.sub)
        .execute(&mut *db)
        .await?;
    let row = sqlx::query!(
        r#"
        WITH caller AS (
            SELECT
                u.id, u.role = 'admin' AS admin,
                EXISTS (
                    SELECT FROM users t WHERE u.id IN (t.id, t.admin_id) AND lower(t.email COLLATE "C") = $3
                ) AS taken,
                (SELECT count(*) FROM users m WHERE m.admin_id = u.id) AS members,
                (
                    SELECT count(*) FROM invitations i
                    WHERE i.admin_id = u.id AND i.status = 'pending' AND i.expires_at > statement_timestamp()
                        AND i.email <> $3
                ) AS others
            FROM users u WHERE u.clerk_id = $1
        ), invitation AS (
            INSERT INTO invitations (id, admin_id, email, token_hash, expires_at)
            SELECT $2, c.id, $3, $4, statement_timestamp() + interval '7 days'
            FROM caller c WHERE c.admin AND NOT c.taken AND 1 + c.members + c.others < $5
            ON CONFLICT (email, admin_id) WHERE status = 'pending' DO UPDATE
            SET token_hash = excluded.token_hash, expires_at = excluded.expires_at, updated_at = statement_timestamp()
            RETURNING *
        )
        SELECT
            c.admin AS "admin!", c.taken AS "taken!", c.members AS "members!", c.others AS "others!",
            to_jsonb(i) - 'token_hash' AS "invitation: Json<Invitation>"
        FROM caller c LEFT JOIN invitation i ON true
        "#,
        caller.sub,
        draft.id,
        draft.email.as_str(),
        draft.token.digest(),
        TEAM_SIZE,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    require_admin(row.admin, "Only an admin may invite somebody.")?;
    if row.taken {
        return Err(Error::conflict("Somebody with this address is on your team already.").into());
    }
    let full = || Error::conflict("Your team is full: cancel an invitation or remove a member first.");
    let invitation = row.invitation.ok_or_else(full)?.0;
    let change = Change {
        kind: "invitation",
        id: invitation.id,
        version: None,
        status: 201,
    };
    let places = Places::of(row.members, row.others + 1);
    let token = draft.token.clone().into_text();
    Ok((Invited::of(invitation, places, Some(token)), Some(change)))
}

/// Returns an invitation that was created before under the same key. With its token only if this very request made it,
/// and the reply of the database was lost.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 unless they are the admin who sent it.
pub async fn created(db: &mut Session, caller: &Caller, id: InvitationId, draft: &Draft) -> Result<Invited, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT
            (SELECT count(*) FROM users m WHERE m.admin_id = u.id) AS "members!",
            (
                SELECT count(*) FROM invitations p
                WHERE p.admin_id = u.id AND p.status = 'pending' AND p.expires_at > now()
            ) AS "pending!",
            i.token_hash = $3 AS mine,
            to_jsonb(i) - 'token_hash' AS "invitation: Json<Invitation>"
        FROM users u LEFT JOIN invitations i ON i.id = $2 AND i.admin_id = u.id AND u.role = 'admin'
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        id.0,
        draft.token.digest(),
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    let invitation = row.invitation.ok_or_else(|| Error::not_found("invitation"))?.0;
    let token = (row.mine == Some(true)).then(|| draft.token.clone().into_text());
    Ok(Invited::of(invitation, Places::of(row.members, row.pending), token))
}
