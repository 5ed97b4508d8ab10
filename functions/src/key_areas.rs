//! Key areas: topics that a member works on, as agreed with the admin of their team.
//!
//! The member and the admin of their team may read them; only that admin writes them. A colleague is refused; for all
//! others the member is absent. Invariants: a key area belongs to the team it was created in, so that a member
//! who changes teams takes none along.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::ids::{KeyAreaId, UserId};
use crate::permission::permit;
use crate::users::Contact;
use shared::db::{Session, WriteAttempt};
use shared::http::page::{Cursor, Page, PageQuery};
use shared::http::{Abort, Caller, Error};
use shared::stored::Timestamp;
use shared::text::Trimmed;
use shared::write_query;

/// A key area of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct KeyArea {
    /// UUIDv7.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// What is to be reached.
    pub description: String,
    /// The member it is about.
    pub user_id: Uuid,
    /// The admin who created it.
    pub created_by_id: Uuid,
    /// The admin who created it.
    pub created_by: Contact,
    /// The time of creation.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    #[serde(with = "shared::stored::time")]
    pub updated_at: DateTime<Utc>,
}

/// A key area as a client writes it, with the id for a new one: created once, so that the create can be retried.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KeyAreaDraft))]
#[serde(deny_unknown_fields)]
pub struct Draft {
    #[serde(skip_deserializing, default = "Uuid::now_v7")]
    id: Uuid,
    name: Trimmed<200>,
    description: Trimmed<2000>,
}

/// Returns a member's key areas, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 for a colleague.
pub async fn list(db: &mut Session, caller: &Caller, user: UserId, query: &PageQuery) -> Result<Page<KeyArea>, Abort> {
    let before = query.cursor.unwrap_or(Cursor::NEWEST);
    // Rows are read in a subquery, after the permission was checked: joined as a whole, they would be decompressed before.
    let rows = sqlx::query!(
        r#"
        SELECT
            reads(c, u) AS "reads?",
            to_jsonb(a) || jsonb_build_object('created_by_id', p.id, 'created_by', to_jsonb(p)) AS "area: Json<KeyArea>"
        FROM users c
        LEFT JOIN users u ON u.id = $2
        LEFT JOIN LATERAL (
            SELECT * FROM key_areas
            WHERE user_id = u.id AND team_id = team_of(u) AND reads(c, u) AND (created_at, id) < ($3, $4)
            ORDER BY created_at DESC, id DESC
            LIMIT $5
        ) a ON true
        LEFT JOIN users p ON p.id = a.created_by
        WHERE c.clerk_id = $1
        ORDER BY a.created_at DESC, a.id DESC
        "#,
        caller.sub,
        user.0,
        Timestamp(before.at) as _,
        before.id,
        query.limit.rows_and_one(),
    )
    .fetch_all(db)
    .await?;
    let first = rows.first().ok_or_else(Error::unknown_caller)?;
    permit(
        first.reads,
        "user",
        "Only the member and the admin of their team may read key areas.",
    )?;
    let items = rows.into_iter().filter_map(|row| row.area).map(|area| area.0).collect();
    Ok(Page::of(items, query.limit, |last: &KeyArea| Cursor {
        at: last.created_at,
        id: last.id,
    }))
}

/// Returns one key area of a member.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 unless they are the admin of the member's team.
pub async fn get(db: &mut Session, caller: &Caller, user: UserId, id: KeyAreaId) -> Result<KeyArea, Abort> {
    let area = sqlx::query_scalar!(
        r#"
        SELECT (
            SELECT to_jsonb(a) || jsonb_build_object('created_by_id', p.id, 'created_by', to_jsonb(p))
            FROM key_areas a JOIN users p ON p.id = a.created_by
            WHERE a.id = $3 AND a.user_id = u.id AND a.team_id = c.id
        ) AS "area: Json<KeyArea>"
        FROM users c
        LEFT JOIN users u ON u.id = $2 AND writes(c, u)
        WHERE c.clerk_id = $1
        "#,
        caller.sub,
        user.0,
        id.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    Ok(area.ok_or_else(absent)?.0)
}

/// Adds a key area to a member of the caller's team.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they are an admin.
pub async fn create(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    user: UserId,
    draft: &Draft,
) -> Result<KeyArea, Abort> {
    // The member's row is locked, so that they do not leave the team before their key area is inserted.
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT u.id, writes(c.person, u) AS writes
            FROM caller c JOIN users u ON u.id = $6 AND writes(c.person, u) IS NOT NULL
            FOR SHARE OF u
        ), created AS (
            INSERT INTO key_areas (id, user_id, team_id, created_by, name, description)
            SELECT n.id, s.id, c.id, c.id, n.name, n.description
            FROM seen s, caller c, jsonb_populate_record(NULL::key_areas, $7) n
            WHERE s.writes
            RETURNING *
        ), changed AS (
            SELECT 'area' AS kind, id, NULL::integer AS version, 201 AS status FROM created
        )"#,
        r#"c.id AS "caller?", s.writes AS "writes?",
            to_jsonb(a) || jsonb_build_object('created_by_id', c.id, 'created_by', c.person) AS "area: Json<KeyArea>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true LEFT JOIN created a ON true"#,
        caller.sub,
        user.0,
        Json(draft) as _,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    permit(row.writes, "user", "Only an admin may add key areas.")?;
    Ok(row.area.ok_or(sqlx::Error::RowNotFound)?.0)
}

/// Changes the texts of a key area.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they are an admin.
pub async fn update(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    user: UserId,
    id: KeyAreaId,
    draft: &Draft,
) -> Result<KeyArea, Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT u.id, team_of(u) AS team, writes(c.person, u) AS writes
            FROM caller c JOIN users u ON u.id = $6 AND writes(c.person, u) IS NOT NULL
            FOR SHARE OF u
        ), updated AS (
            UPDATE key_areas a SET name = n.name, description = n.description, updated_at = clock_timestamp()
            FROM seen s, jsonb_populate_record(NULL::key_areas, $8) n
            WHERE a.id = $7 AND a.user_id = s.id AND a.team_id = s.team AND s.writes
            RETURNING a.*
        ), changed AS (
            SELECT 'area' AS kind, id, NULL::integer AS version, 200 AS status FROM updated
        )"#,
        r#"c.id AS "caller?", s.writes AS "writes?",
            to_jsonb(a) || jsonb_build_object('created_by_id', p.id, 'created_by', to_jsonb(p)) AS "area: Json<KeyArea>"
        FROM known
        LEFT JOIN caller c ON true
        LEFT JOIN seen s ON true
        LEFT JOIN updated a ON true
        LEFT JOIN users p ON p.id = a.created_by"#,
        caller.sub,
        user.0,
        id.0,
        Json(draft) as _,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    permit(row.writes, "user", "Only an admin may change key areas.")?;
    Ok(row.area.ok_or_else(absent)?.0)
}

/// Deletes a key area.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they are an admin.
pub async fn delete(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    user: UserId,
    id: KeyAreaId,
) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT u.id, team_of(u) AS team, writes(c.person, u) AS writes
            FROM caller c JOIN users u ON u.id = $6 AND writes(c.person, u) IS NOT NULL
            FOR SHARE OF u
        ), deleted AS (
            DELETE FROM key_areas a USING seen s
            WHERE a.id = $7 AND a.user_id = s.id AND a.team_id = s.team AND s.writes
            RETURNING a.id
        ), changed AS (
            SELECT 'area' AS kind, id, NULL::integer AS version, 200 AS status FROM deleted
        )"#,
        r#"c.id AS "caller?", s.writes AS "writes?", d.id AS "deleted?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true LEFT JOIN deleted d ON true"#,
        caller.sub,
        user.0,
        id.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    permit(row.writes, "user", DELETE_REFUSAL)?;
    row.deleted.ok_or_else(absent)?;
    Ok(())
}

/// Checks that the caller may still delete key areas of the member, for a replay.
///
/// # Errors
/// As [`delete`].
pub async fn deleted(db: &mut Session, caller: &Caller, user: UserId) -> Result<(), Abort> {
    let writes = sqlx::query_scalar!(
        r#"SELECT writes(c, u) AS "writes?" FROM users c LEFT JOIN users u ON u.id = $2 WHERE c.clerk_id = $1"#,
        caller.sub,
        user.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    permit(writes, "user", DELETE_REFUSAL)?;
    Ok(())
}

const DELETE_REFUSAL: &str = "Only an admin may delete key areas.";

fn absent() -> Error {
    Error::not_found("key area")
}
