//! Tasks that result from a meeting.
//!
//! | file | purpose |
//! |---|---|
//! | [`fields`] | the fields that clients write, with their rules |
//! | [`all`] | the tasks of a whole team |
//! | [`suggest`] | suggestions for areas for support |
//!
//! A caller who sees the meeting sees its tasks, and may approve a suggestion. Its creator and its team's admin manage
//! them; its team member may mark one as done or not done. Each operation is one statement, as in
//! [`meetings`](crate::meetings), with the same SQL functions. A task under another meeting's id is absent.

pub mod all;
pub mod fields;
pub mod suggest;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

pub use fields::{Assignee, Changes, Draft, Status};

use crate::ids::{MeetingId, TaskId};
use crate::permission::permit;
use shared::db::{Session, WriteAttempt};
use shared::http::page::{Cursor, Page, PageQuery};
use shared::http::{Abort, Caller, Error};
use shared::stored::Timestamp;
use shared::write_query;

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Task {
    /// UUIDv7.
    pub id: Uuid,
    /// The text.
    pub text: String,
    /// The status.
    pub status: Status,
    /// The assignee, on the meeting's team.
    pub assigned_to: Option<Uuid>,
    /// The reason for the suggestion.
    pub reasoning: Option<String>,
    /// The area for support that it serves.
    pub related_area_for_support: Option<String>,
    /// The suggested assignee.
    pub suggested_assignee: Option<Assignee>,
    /// The meeting that it results from.
    pub meeting_id: Uuid,
    /// The time of creation.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// The time of completion; set and cleared with the status.
    #[serde(with = "shared::stored::optional_time")]
    pub completed_at: Option<DateTime<Utc>>,
}

/// Returns a page of a meeting's tasks, oldest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn list(
    db: &mut Session,
    caller: &Caller,
    meeting: MeetingId,
    query: &PageQuery,
) -> Result<Page<Task>, Abort> {
    let after = query.cursor.unwrap_or(Cursor::OLDEST);
    // Rows are read in a subquery, of a visible meeting alone: joined as a whole, they would be decompressed before.
    let rows = sqlx::query!(
        r#"
        SELECT m.id AS "meeting?", to_jsonb(t) AS "task: Json<Task>"
        FROM users u
        LEFT JOIN meetings m ON m.id = $2 AND sees(u, m)
        LEFT JOIN LATERAL (
            SELECT * FROM tasks
            WHERE meeting_id = m.id AND (created_at, id) > ($3, $4)
            ORDER BY created_at, id
            LIMIT $5
        ) t ON true
        WHERE u.clerk_id = $1
        ORDER BY t.created_at, t.id
        "#,
        caller.sub,
        meeting.0,
        Timestamp(after.at) as _,
        after.id,
        query.limit.rows_and_one(),
    )
    .fetch_all(db)
    .await?;
    let first = rows.first().ok_or_else(Error::unknown_caller)?;
    first.meeting.ok_or_else(|| Error::not_found("meeting"))?;
    let items = rows.into_iter().filter_map(|row| row.task).map(|task| task.0).collect();
    Ok(Page::of(items, query.limit, |last: &Task| Cursor {
        at: last.created_at,
        id: last.id,
    }))
}

/// Returns one task of a meeting.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn get(db: &mut Session, caller: &Caller, meeting: MeetingId, id: TaskId) -> Result<Task, Abort> {
    let task = sqlx::query_scalar!(
        r#"
        SELECT (SELECT to_jsonb(t) FROM tasks t WHERE t.meeting_id = m.id AND t.id = $3) AS "task: Json<Task>"
        FROM users u
        LEFT JOIN meetings m ON m.id = $2 AND sees(u, m)
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        meeting.0,
        id.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    Ok(task.ok_or_else(|| Error::not_found("task"))?.0)
}

/// Adds a task to a meeting.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they manage the meeting, 422 for an assignee of another
/// team.
pub async fn create(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    meeting: MeetingId,
    draft: &Draft,
) -> Result<Task, Abort> {
    // The meeting's row is locked, so that it is not deleted before its task is inserted.
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT m.id, m.team_id, manages(c.person, m) AS manages
            FROM caller c JOIN meetings m ON m.id = $6 AND sees(c.person, m)
            FOR KEY SHARE OF m
        ), created AS (
            INSERT INTO tasks (
                id, meeting_id, team_id, text, status, assigned_to, reasoning, related_area_for_support,
                suggested_assignee, completed_at
            )
            SELECT
                n.id, s.id, s.team_id, n.text, n.status, n.assigned_to, n.reasoning, n.related_area_for_support,
                n.suggested_assignee, CASE WHEN n.status = 'complete' THEN now() END
            FROM seen s, jsonb_populate_record(NULL::tasks, $7) n
            WHERE s.manages AND (n.assigned_to IS NULL OR EXISTS (
                SELECT FROM users a WHERE a.id = n.assigned_to AND team_of(a) = s.team_id
            ))
            RETURNING *
        ), changed AS (
            SELECT 'task' AS kind, id, NULL::integer AS version, 201 AS status FROM created
        )"#,
        r#"(c.person).id AS "caller?", s.manages AS "manages?", to_jsonb(t) AS "task: Json<Task>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true LEFT JOIN created t ON true"#,
        caller.sub,
        meeting.0,
        Json(draft) as _,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    permit(
        row.manages,
        "meeting",
        "Only the meeting's creator and its team's admin may add tasks.",
    )?;
    Ok(row.task.ok_or_else(stranger)?.0)
}

/// Changes a task.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 for more than the caller may change, 422 for an assignee of
/// another team.
pub async fn update(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    meeting: MeetingId,
    id: TaskId,
    changes: &Changes,
) -> Result<Task, Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT t AS old, manages(c.person, m) AS manages
            FROM caller c
            JOIN meetings m ON m.id = $6 AND sees(c.person, m)
            JOIN tasks t ON t.meeting_id = m.id AND t.id = $7
            FOR NO KEY UPDATE OF t
        ), wanted AS (
            SELECT
                n.*,
                s.manages OR $9 AND 'suggested' NOT IN (n.status, (s.old).status) AS allowed,
                NOT $8 ? 'assigned_to' OR n.assigned_to IS NULL OR EXISTS (
                    SELECT FROM users a WHERE a.id = n.assigned_to AND team_of(a) = (s.old).team_id
                ) AS assignable
            FROM seen s, jsonb_populate_record(s.old, $8) n
        ), updated AS (
            UPDATE tasks t
            SET text = w.text, status = w.status, assigned_to = w.assigned_to, reasoning = w.reasoning,
                related_area_for_support = w.related_area_for_support, suggested_assignee = w.suggested_assignee,
                completed_at = CASE WHEN w.status = 'complete' THEN coalesce(t.completed_at, clock_timestamp()) END,
                updated_at = clock_timestamp()
            FROM wanted w
            WHERE t.id = w.id AND w.allowed AND w.assignable
            RETURNING t.*
        ), changed AS (
            SELECT 'task' AS kind, id, NULL::integer AS version, 200 AS status FROM updated
        )"#,
        r#"(c.person).id AS "caller?", w.allowed AS "allowed?", to_jsonb(t) AS "task: Json<Task>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN wanted w ON true LEFT JOIN updated t ON true"#,
        caller.sub,
        meeting.0,
        id.0,
        Json(changes) as _,
        changes.only_status(),
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    permit(
        row.allowed,
        "task",
        "The team member may only change a task between incomplete and complete.",
    )?;
    Ok(row.task.ok_or_else(stranger)?.0)
}

/// Approves a suggested task: the manager, who is the meeting's creator, or its team member is assigned, as suggested,
/// if they are on the team.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 409 for a task that is not suggested.
pub async fn approve(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    meeting: MeetingId,
    id: TaskId,
) -> Result<Task, Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT
                t.id, t.status, m.team_id,
                CASE t.suggested_assignee WHEN 'manager' THEN m.created_by WHEN 'team_member' THEN m.team_member_id END
                    AS assignee
            FROM caller c
            JOIN meetings m ON m.id = $6 AND sees(c.person, m)
            JOIN tasks t ON t.meeting_id = m.id AND t.id = $7
            FOR NO KEY UPDATE OF t
        ), approved AS (
            UPDATE tasks t
            SET status = 'incomplete', updated_at = clock_timestamp(), assigned_to = coalesce(
                (SELECT a.id FROM users a WHERE a.id = s.assignee AND team_of(a) = s.team_id), t.assigned_to
            )
            FROM seen s
            WHERE t.id = s.id AND s.status = 'suggested'
            RETURNING t.*
        ), changed AS (
            SELECT 'task' AS kind, id, NULL::integer AS version, 200 AS status FROM approved
        )"#,
        r#"(c.person).id AS "caller?", s.id AS "task_id?", to_jsonb(t) AS "task: Json<Task>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true LEFT JOIN approved t ON true"#,
        caller.sub,
        meeting.0,
        id.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    row.task_id.ok_or_else(|| Error::not_found("task"))?;
    let approved = row
        .task
        .ok_or_else(|| Error::conflict("Only a suggested task can be approved."))?;
    Ok(approved.0)
}

/// Deletes a task.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they manage the meeting.
pub async fn delete(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    meeting: MeetingId,
    id: TaskId,
) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT t.id, manages(c.person, m) AS manages
            FROM caller c
            JOIN meetings m ON m.id = $6 AND sees(c.person, m)
            JOIN tasks t ON t.meeting_id = m.id AND t.id = $7
            FOR UPDATE OF t
        ), deleted AS (
            DELETE FROM tasks t USING seen s WHERE t.id = s.id AND s.manages RETURNING t.id
        ), changed AS (
            SELECT 'task' AS kind, id, NULL::integer AS version, 204 AS status FROM deleted
        )"#,
        r#"(c.person).id AS "caller?", s.manages AS "manages?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true"#,
        caller.sub,
        meeting.0,
        id.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    permit(row.manages, "task", DELETE_REFUSAL)?;
    Ok(())
}

/// Checks that the caller may still delete tasks of the meeting, for a replay.
///
/// # Errors
/// As [`delete`].
pub async fn deleted(db: &mut Session, caller: &Caller, meeting: MeetingId) -> Result<(), Abort> {
    let manages = sqlx::query_scalar!(
        r#"
        SELECT manages(u, m) AS "manages?"
        FROM users u LEFT JOIN meetings m ON m.id = $2 AND sees(u, m)
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        meeting.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    permit(manages, "task", DELETE_REFUSAL)?;
    Ok(())
}

const DELETE_REFUSAL: &str = "Only the meeting's creator and its team's admin may delete tasks.";

fn stranger() -> Error {
    Error::field("assignedTo", "must be somebody of the meeting's team, or null")
}
