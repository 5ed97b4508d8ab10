//! Suggested tasks for a meeting's areas for support.
//!
//! Each area becomes a task for the manager, and one for the team member if it is about knowledge. Invariants: a
//! meeting that has suggestions gets no others. A suggestion's id is a digest of the meeting, the area and the
//! assignee, so the second of two concurrent requests finds the rows of the first.

use serde::Serialize;

use crate::ids::MeetingId;
use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Caller, Error};
use shared::write_query;

/// The maximum number of suggestions for a meeting.
const MOST: i64 = 20;

/// The answer: how many suggestions the meeting has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all = "camelCase")]
pub struct Suggestions {
    /// The result in words.
    pub message: &'static str,
    /// The number of its suggested tasks.
    pub suggested_tasks_count: i64,
    /// The number of its areas for support.
    pub areas_for_support_count: i64,
}

impl Suggestions {
    fn of(suggested_tasks_count: i64, areas_for_support_count: i64) -> Self {
        let message = if suggested_tasks_count == 0 {
            "Every suggestion for this meeting was decided on already."
        } else {
            "Approve the suggested tasks, or delete them."
        };
        Self {
            message,
            suggested_tasks_count,
            areas_for_support_count,
        }
    }
}

/// Suggests tasks for a meeting's areas for support, unless it has suggestions.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 409 for a meeting without areas for support.
pub async fn create(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    meeting: MeetingId,
) -> Result<Suggestions, Abort> {
    // An approved or completed suggestion keeps its id, so it is not suggested again; a deleted one is.
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT m.id, m.team_id, m.areas_for_support FROM caller c JOIN meetings m ON m.id = $6 AND sees(c.person, m)
            FOR KEY SHARE OF m
        ), existing AS (
            SELECT count(*) AS count FROM seen s JOIN tasks t ON t.meeting_id = s.id AND t.status = 'suggested'
        ), wanted AS (
            SELECT
                s.id AS meeting_id, s.team_id, a.area, w.assignee, w.text,
                encode(substring(sha256(convert_to(concat_ws('/', s.id, w.assignee, a.area), 'UTF8')) FOR 16), 'hex')::uuid
                    AS id,
                row_number() OVER (ORDER BY a.place, w.assignee) AS place
            FROM seen s, existing e, unnest(s.areas_for_support) WITH ORDINALITY AS a (area, place), LATERAL (
                VALUES ('manager', 'Talk about what would help: ' || a.area),
                    ('team_member', 'Look for material, or a colleague who knows more: ' || a.area)
            ) AS w (assignee, text)
            WHERE e.count = 0 AND (w.assignee = 'manager' OR a.area ~* '(skill|knowledge|learn)')
        ), created AS (
            INSERT INTO tasks (
                id, meeting_id, team_id, text, status, reasoning, related_area_for_support, suggested_assignee, created_at
            )
            SELECT DISTINCT ON (id)
                id, meeting_id, team_id, text, 'suggested', 'The meeting named it as an area for support.', area, assignee,
                now() + place * interval '1 microsecond'
            FROM wanted WHERE place <= $7
            ON CONFLICT (id) DO UPDATE SET updated_at = tasks.updated_at WHERE tasks.status = 'suggested'
            RETURNING meeting_id
        ), changed AS (
            SELECT DISTINCT 'meeting' AS kind, meeting_id AS id, NULL::integer AS version, 200 AS status FROM created
        )"#,
        r#"(c.person).id AS "caller?", cardinality(s.areas_for_support)::bigint AS "areas?",
            (SELECT count FROM existing) + (SELECT count(*) FROM created) AS "suggested!"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true"#,
        caller.sub,
        meeting.0,
        MOST,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    match row.areas.ok_or_else(|| Error::not_found("meeting"))? {
        0 => Err(Error::conflict("The meeting has no areas for support, for which tasks could be suggested.").into()),
        areas => Ok(Suggestions::of(row.suggested, areas)),
    }
}

/// Returns the number of a meeting's suggestions.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn count(db: &mut Session, caller: &Caller, meeting: MeetingId) -> Result<Suggestions, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT
            cardinality(m.areas_for_support)::bigint AS "areas?",
            (SELECT count(*) FROM tasks t WHERE t.meeting_id = m.id AND t.status = 'suggested') AS "suggested!"
        FROM users u
        LEFT JOIN meetings m ON m.id = $2 AND sees(u, m)
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        meeting.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    let areas = row.areas.ok_or_else(|| Error::not_found("meeting"))?;
    Ok(Suggestions::of(row.suggested, areas))
}
