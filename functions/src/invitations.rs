//! Invitations: how an admin adds a person to their team. `users::register` uses them up.
//!
//! Invariants: an admin learns nothing about people of other teams. Depends on: the index `invitations_pending`: one
//! pending invitation per address and admin.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use sqlx::types::Json;
use uuid::Uuid;

use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Caller, Error};
use shared::write_query;

/// The status of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InvitationStatus))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The address has not been registered since.
    Pending,
    /// The invited person has registered and is on the team.
    Accepted,
}

/// An invitation, visible to the admin who sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Invitation {
    /// UUIDv7.
    pub id: Uuid,
    /// The invited address, in lower case.
    pub email: String,
    /// The status.
    pub status: Status,
    /// When the address was first invited.
    #[serde(deserialize_with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
}

/// An e-mail address, in lower case: one `@`, a dot in the domain, no spaces, at most 254 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

#[cfg(feature = "openapi")]
shared::schema!(Email, |schema| {
    let (usable, label) = (
        r"[^@\s\u0000-\u001f\u007f-\u009f]",
        r"[^.@\s\u0000-\u001f\u007f-\u009f]+",
    );
    let text = schema.schema_type(Type::String).max_length(Some(254));
    // Not `format`, which accepts fewer addresses than this rule.
    text.pattern(Some(format!(r"^{usable}+@{label}(\.{label})+$")))
});

impl Email {
    fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let unusable = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        let dotted = domain.contains('.') && !domain.split('.').any(str::is_empty);
        let fits = text.chars().count() <= 254;
        let sound = !local.is_empty() && dotted && fits && !local.contains(unusable) && !domain.contains(unusable);
        sound.then(|| Self(text.to_lowercase()))
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom("must be an e-mail address such as name@example.com, of at most 254 characters")
        })
    }
}

/// A new invitation, with its id: created once, so that the create can be retried.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InvitationDraft))]
#[serde(deny_unknown_fields)]
pub struct Draft {
    #[serde(skip_deserializing, default = "Uuid::now_v7")]
    id: Uuid,
    email: Email,
}

/// Invites an address to the caller's team; returns an invitation that is already pending.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin, 409 if the person is on the team.
pub async fn create(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    draft: &Draft,
) -> Result<Invitation, Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, role = 'admin' AS admin FROM users, known WHERE clerk_id = $5 AND clear
        ), taken AS (
            SELECT FROM caller c JOIN users u ON c.id IN (u.id, u.admin_id) WHERE lower(u.email) = lower($7)
        ), invitation AS (
            INSERT INTO invitations (id, admin_id, email)
            SELECT $6, c.id, lower($7) FROM caller c WHERE c.admin AND NOT EXISTS (SELECT FROM taken)
            ON CONFLICT (email, admin_id) WHERE status = 'pending' DO UPDATE SET updated_at = now()
            RETURNING *
        ), changed AS (
            SELECT 'invitation' AS kind, id, NULL::integer AS version, 201 AS status FROM invitation
        )"#,
        r#"c.admin AS "admin?", to_jsonb(i) AS "invitation: Json<Invitation>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN invitation i ON true"#,
        caller.sub,
        draft.id,
        draft.email.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    if !row.admin.ok_or_else(Error::unknown_caller)? {
        return Err(Error::forbidden("Only an admin may invite somebody.").into());
    }
    let taken = || Error::conflict("Somebody with this address is on your team already.");
    Ok(row.invitation.ok_or_else(taken)?.0)
}

/// Returns one invitation of the caller's team.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 unless they are the admin who sent it.
pub async fn get(db: &mut Session, caller: &Caller, id: Uuid) -> Result<Invitation, Abort> {
    let invitation = sqlx::query_scalar!(
        r#"
        SELECT to_jsonb(i) AS "invitation: Json<Invitation>"
        FROM users u LEFT JOIN invitations i ON i.id = $2 AND i.admin_id = u.id AND u.role = 'admin'
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        id,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    Ok(invitation.ok_or_else(|| Error::not_found("invitation"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_accepts_only_addresses() {
        for good in ["ada@example.com", "a.b+c@sub.example.co", "ünï@exämple.de"] {
            assert!(Email::parse(good).is_some(), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(243));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "ada@.com",
            "ada@example.",
            "a@b@c.de",
            "a b@c.de",
            "a@c.d e",
            "a\0@c.de",
            "a@c\n.de",
            &long,
        ] {
            assert!(Email::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn email_ignores_case() {
        assert_eq!(Email::parse("Ada@Example.COM"), Email::parse("ada@example.com"));
    }
}
