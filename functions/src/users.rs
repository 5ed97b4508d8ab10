//! Users: the identity behind a token's subject, and their team.
//!
//! Invariants: trusts nothing about a caller except the verified claims. Depends on: the uniqueness of
//! `users.clerk_id`: repeated and concurrent registrations create one row.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::ids::UserId;
use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Caller, Error};
use shared::write_query;

/// A user's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Leads a team.
    Admin,
    /// Is on an admin's team.
    User,
}

/// A user.
///
/// Here and in the other resources a row is returned as one jsonb value: it can be absent as a whole, and a column that
/// a migration adds does not change a prepared statement's result type (0A000).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct User {
    /// UUIDv7.
    pub id: Uuid,
    /// The address in the token at registration, in lower case.
    pub email: String,
    /// The name in the token at registration, else the address's local part.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The token's `sub`.
    pub clerk_id: String,
    /// The admin whose team the user is on.
    pub admin_id: Option<Uuid>,
    /// The time of registration.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// The time of the row's last change.
    #[serde(with = "shared::stored::time")]
    pub updated_at: DateTime<Utc>,
}

/// A user as the team sees them, a row of the view `colleagues`: without `clerkId`, which identifies them at another
/// service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Colleague {
    /// UUIDv7.
    pub id: Uuid,
    /// In lower case.
    pub email: String,
    /// The user's name.
    pub name: String,
    /// The user's role.
    pub role: Role,
    /// The admin whose team they are on; null for the admin.
    pub admin_id: Option<Uuid>,
    /// The time of registration.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// The time of the row's last change.
    #[serde(with = "shared::stored::time")]
    pub updated_at: DateTime<Utc>,
    /// The time of the newest analysis of their meetings.
    #[serde(with = "shared::stored::optional_time")]
    pub last_analyzed_at: Option<DateTime<Utc>>,
}

/// The name and address of a user, for display beside their rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contact {
    /// UUIDv7.
    pub id: Uuid,
    /// The user's name.
    pub name: String,
    /// In lower case.
    pub email: String,
}

/// The body of a registration: what a page knows of the person. It is accepted and ignored, because only the token's
/// claims identify the caller.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Ignored.
    pub email: Option<String>,
    /// Ignored.
    pub name: Option<String>,
}

/// The body of a request that needs none.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

/// A registration, with the id for a new user: created once, so that it can be retried.
#[derive(Debug)]
pub struct Registration {
    id: Uuid,
    sub: String,
    email: String,
    name: String,
}

/// The result of a registration.
#[derive(Debug)]
pub enum Registered {
    /// The user is new.
    Now(User),
    /// The user was registered before.
    Before(User),
}

impl Registration {
    /// Creates a registration from the caller's claims.
    ///
    /// # Errors
    /// Fails with 422 and the claim `email` if the token has none.
    pub fn of(caller: &Caller) -> Result<Self, Error> {
        let Caller {
            sub,
            email,
            name,
            email_verified: _,
        } = caller.clone();
        let rule = "must be a claim of the token, of at most 255 characters";
        let email = email.ok_or_else(|| Error::field("email", rule))?;
        let local_part = email
            .split('@')
            .next()
            .filter(|part| !part.is_empty())
            .unwrap_or(&email);
        let name = name.unwrap_or_else(|| local_part.to_owned());
        Ok(Self {
            id: Uuid::now_v7(),
            sub,
            email,
            name,
        })
    }
}

/// Creates the caller's row, or finds it. A new user is the admin of an empty team: joining another one takes the
/// acceptance of an invitation.
///
/// # Errors
/// Fails only with database errors.
pub async fn register(
    db: &mut Session,
    attempt: &WriteAttempt,
    registration: &Registration,
) -> Result<Registered, Abort> {
    // Of two concurrent registrations the second waits on the unique clerk_id and then uses the first one's row, which
    // DO UPDATE returns and DO NOTHING would not.
    let row = write_query!(
        attempt,
        r#"existing AS (
            SELECT * FROM users WHERE clerk_id = $6
        ), registered AS (
            INSERT INTO users (id, clerk_id, email, name, role)
            SELECT $5, $6, $7, $8, 'admin' FROM known WHERE clear AND NOT EXISTS (SELECT FROM existing)
            ON CONFLICT (clerk_id) DO UPDATE SET clerk_id = excluded.clerk_id
            RETURNING *
        ), changed AS (
            SELECT 'user' AS kind, id, NULL::integer AS version, 201 AS status FROM registered WHERE id = $5
        )"#,
        r#"to_jsonb(u) AS "user?: Json<User>"
        FROM known LEFT JOIN (SELECT * FROM existing UNION ALL SELECT * FROM registered) u ON true"#,
        registration.id,
        registration.sub,
        registration.email,
        registration.name,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    let user = row.user.ok_or(sqlx::Error::RowNotFound)?.0;
    Ok(if user.id == registration.id {
        Registered::Now(user)
    } else {
        Registered::Before(user)
    })
}

/// Returns the caller's own row.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn me(db: &mut Session, caller: &Caller) -> Result<User, Abort> {
    let user = sqlx::query_scalar!(
        r#"SELECT to_jsonb(u) AS "user!: Json<User>" FROM users u WHERE clerk_id = $1"#,
        caller.sub,
    )
    .fetch_optional(db)
    .await?;
    Ok(user.ok_or_else(Error::unknown_caller)?.0)
}

/// Returns a person on the caller's team, for example the caller.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 for other people.
pub async fn get(db: &mut Session, caller: &Caller, id: UserId) -> Result<Colleague, Abort> {
    let user = sqlx::query_scalar!(
        r#"
        SELECT to_jsonb(u) AS "user: Json<Colleague>"
        FROM users c LEFT JOIN colleagues u ON u.id = $2 AND team_of(c) IN (u.id, u.admin_id)
        WHERE c.clerk_id = $1
        "#,
        caller.sub,
        id.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    Ok(user.ok_or_else(|| Error::not_found("user"))?.0)
}

/// Returns everybody on the caller's team, including the caller, by name and then id.
///
/// # Errors
/// 401 for an unregistered caller.
pub async fn team(db: &mut Session, caller: &Caller) -> Result<Vec<Colleague>, Abort> {
    let team = sqlx::query_scalar!(
        r#"
        SELECT (
            SELECT jsonb_agg(u ORDER BY u.name, u.id) FROM colleagues u
            WHERE team_of(c) IN (u.id, u.admin_id)
        ) AS "team!: Json<Vec<Colleague>>"
        FROM users c WHERE c.clerk_id = $1
        "#,
        caller.sub,
    )
    .fetch_optional(db)
    .await?;
    Ok(team.ok_or_else(Error::unknown_caller)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(email: Option<&str>, name: Option<&str>) -> Result<Registration, Error> {
        Registration::of(&Caller {
            sub: "sub".to_owned(),
            email: email.map(str::to_owned),
            name: name.map(str::to_owned),
            email_verified: true,
        })
    }

    #[test]
    fn name_defaults_to_the_address() {
        assert_eq!(registration(Some("ada@example.com"), Some("Ada")).unwrap().name, "Ada");
        assert_eq!(registration(Some("ada@example.com"), None).unwrap().name, "ada");
        assert_eq!(registration(Some("@example.com"), None).unwrap().name, "@example.com");
    }

    #[test]
    fn register_without_address_fails() {
        let Err(Error::Invalid(errors)) = registration(None, Some("Ada")) else {
            panic!("accepted")
        };
        assert_eq!(errors[0].field, "email");
    }
}
