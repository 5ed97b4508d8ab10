//! The tasks of a whole team, for its admin.
//!
//! Invariants: an index decides every condition, so the cost of a page depends only on its rows, regardless of the
//! filter. A list of every status scans the index once per status and merges. `tests/lists` verifies this for every
//! filter.

use serde::Deserialize;
use sqlx::types::Json;

use super::{Status, Task};
use shared::db::Session;
use shared::http::page::{Cursor, Limit, Page};
use shared::http::{Abort, Caller, Error};
use shared::stored::Timestamp;

/// The filter of a list of tasks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    limit: Limit,
    cursor: Option<Cursor>,
    status: Option<Status>,
}

/// Returns a page of the tasks of the caller's team, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin.
pub async fn list(db: &mut Session, caller: &Caller, filter: &Filter) -> Result<Page<Task>, Abort> {
    let before = filter.cursor.unwrap_or(Cursor::NEWEST);
    let statuses: Vec<&str> = match filter.status {
        Some(status) => vec![status.name()],
        None => Status::ALL.map(Status::name).to_vec(),
    };
    // `LIMIT (SELECT $5)` hides the limit from the planner, as in the list of meetings.
    let rows = sqlx::query!(
        r#"
        SELECT u.role = 'admin' AS "admin!", to_jsonb(t) AS "task: Json<Task>"
        FROM users u
        LEFT JOIN LATERAL (
            SELECT w.* FROM unnest($4::text[]) AS s (status), LATERAL (
                SELECT * FROM tasks
                WHERE u.role = 'admin' AND team_id = u.id AND status = s.status AND (created_at, id) < ($2, $3)
                ORDER BY created_at DESC, id DESC
                LIMIT (SELECT $5::bigint)
            ) w
            ORDER BY w.created_at DESC, w.id DESC
            LIMIT $5
        ) t ON true
        WHERE u.clerk_id = $1
        ORDER BY t.created_at DESC, t.id DESC
        "#,
        caller.sub,
        Timestamp(before.at) as _,
        before.id,
        &statuses as &[&str],
        filter.limit.rows_and_one(),
    )
    .fetch_all(db)
    .await?;
    let first = rows.first().ok_or_else(Error::unknown_caller)?;
    if !first.admin {
        return Err(Error::forbidden("Only an admin may list the tasks of the team.").into());
    }
    let tasks = rows.into_iter().filter_map(|row| row.task).map(|task| task.0).collect();
    Ok(Page::of(tasks, filter.limit, |last| Cursor {
        at: last.created_at,
        id: last.id,
    }))
}
