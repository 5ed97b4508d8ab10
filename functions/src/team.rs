//! Teams: an admin and their members. `invitations` adds members.
//!
//! Invariants: a person is on one team; after leaving or removal they are the admin of an empty one, as after
//! registering. Meetings stay in the team that they were held in, and tasks keep their assignee.

use sqlx::types::Json;

use crate::ids::UserId;
use crate::permission::{require_admin, require_admin_still};
use crate::users::{Colleague, Contact, User};
use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Caller, Error};
use shared::write_query;

/// Returns the people whom the caller holds meetings with, the caller first: for an admin their members by name, for a
/// member the admin.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn teammates(db: &mut Session, caller: &Caller) -> Result<Vec<Contact>, Abort> {
    let team = sqlx::query_scalar!(
        r#"
        SELECT (
            SELECT jsonb_agg(
                jsonb_build_object('id', u.id, 'name', u.name, 'email', u.email) ORDER BY u.id <> c.id, u.name, u.id
            )
            FROM users u WHERE u.id IN (c.id, c.admin_id) OR u.admin_id = c.id
        ) AS "team!: Json<Vec<Contact>>"
        FROM users c WHERE c.clerk_id = $1
        "#,
        caller.sub,
    )
    .fetch_optional(db)
    .await?;
    Ok(team.ok_or_else(Error::unknown_caller)?.0)
}

/// Returns the members of the caller's team without the caller, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin.
pub async fn members(db: &mut Session, caller: &Caller) -> Result<Vec<Colleague>, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT
            role = 'admin' AS "admin!",
            (
                SELECT coalesce(jsonb_agg(u ORDER BY u.created_at DESC, u.id DESC), '[]')
                FROM colleagues u WHERE u.admin_id = c.id
            ) AS "members!: Json<Vec<Colleague>>"
        FROM users c WHERE clerk_id = $1
        "#,
        caller.sub,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    require_admin(row.admin, "Only the admin of a team may list its members.")?;
    Ok(row.members.0)
}

/// Removes a member from the caller's team.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin, 404 unless it is a member of their team.
pub async fn remove(db: &mut Session, attempt: &WriteAttempt, caller: &Caller, id: UserId) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, role = 'admin' AS admin FROM users, known WHERE clerk_id = $5 AND clear
        ), removed AS (
            UPDATE users u SET role = 'admin', admin_id = NULL, updated_at = clock_timestamp()
            FROM caller c WHERE c.admin AND u.id = $6 AND u.admin_id = c.id
            RETURNING u.id
        ), changed AS (
            SELECT 'user' AS kind, id, NULL::integer AS version, 200 AS status FROM removed
        )"#,
        r#"c.admin AS "admin?", r.id AS "removed?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN removed r ON true"#,
        caller.sub,
        id.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    require_admin(row.admin.ok_or_else(Error::unknown_caller)?, REMOVE_REFUSAL)?;
    row.removed.ok_or_else(|| Error::not_found("team member"))?;
    Ok(())
}

/// Checks that the caller still leads a team, for a replay: the member is gone.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403.
pub async fn removed(db: &mut Session, caller: &Caller) -> Result<(), Abort> {
    require_admin_still(db, caller, REMOVE_REFUSAL).await
}

const REMOVE_REFUSAL: &str = "Only the admin of a team may remove its members.";

/// Takes the caller off the team they are a member of.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 409 for an admin.
pub async fn leave(db: &mut Session, attempt: &WriteAttempt, caller: &Caller) -> Result<User, Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id FROM users, known WHERE clerk_id = $5 AND clear
        ), departed AS (
            UPDATE users u SET role = 'admin', admin_id = NULL, updated_at = clock_timestamp()
            FROM caller c WHERE u.id = c.id AND u.admin_id IS NOT NULL
            RETURNING u.*
        ), changed AS (
            SELECT 'user' AS kind, id, NULL::integer AS version, 200 AS status FROM departed
        )"#,
        r#"c.id AS "caller?", to_jsonb(u) AS "user: Json<User>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN departed u ON true"#,
        caller.sub,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    let admin = || Error::conflict("You lead your own team: only a member can leave one.");
    Ok(row.user.ok_or_else(admin)?.0)
}
