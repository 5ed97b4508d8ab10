//! The tasks of a whole team, for its admin.

use serde::Deserialize;
use sqlx::types::Json;

use super::{Status, Task};
use crate::db::Session;
use crate::http::page::{Cursor, Limit, Page};
use crate::http::{Abort, Caller, Error};

/// Which tasks to list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    limit: Limit,
    cursor: Option<Cursor>,
    status: Option<Status>,
}

/// A page of the tasks of the caller's team, newest first.
///
/// # Errors
/// 401 for an unregistered caller, 403 unless they are an admin.
pub async fn list(db: &mut Session, caller: &Caller, filter: &Filter) -> Result<Page<Task>, Abort> {
    let before = filter.cursor.unwrap_or(Cursor::NEWEST);
    let rows = sqlx::query!(
        r#"
        SELECT u.role = 'admin' AS "admin!", to_jsonb(t) AS "task: Json<Task>"
        FROM users u
        LEFT JOIN LATERAL (
            SELECT * FROM tasks
            WHERE u.role = 'admin' AND team_id = u.id AND (created_at, id) < ($2, $3)
                AND ($4::text IS NULL OR status = $4)
            ORDER BY created_at DESC, id DESC
            LIMIT $5
        ) t ON true
        WHERE u.clerk_id = $1
        ORDER BY t.created_at DESC, t.id DESC
        "#,
        caller.sub,
        before.at,
        before.id,
        filter.status.map(Status::name),
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
