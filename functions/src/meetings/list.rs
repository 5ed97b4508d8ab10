//! The list of meetings: a page of those that the caller may see, newest date first.
//!
//! Invariants: an index decides every condition, so the cost of a page depends only on its rows, regardless of the
//! filter and of other users' meetings. Each index starts with its owner, then the status, then the sort key: a list of
//! every status scans the index once per status and merges. `tests/lists` verifies this for every filter.

use chrono::{DateTime, TimeDelta};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::{MeetingSummary, Status, Time};
use shared::db::Session;
use shared::http::page::{Cursor, Limit, Page};
use shared::http::{Abort, Caller, Error};
use shared::text::Id;

/// Upper bound in bytes on the text fetched for one page; more would exceed Lambda's response limit. [`Page::of_fetched`]
/// accounts for JSON's escapes.
const PAGE_TEXT: i64 = 3 * 1024 * 1024;

/// The filter of a list of meetings.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filter {
    limit: Limit,
    cursor: Option<Cursor>,
    status: Option<Status>,
    team_member_id: Option<Id>,
    /// The earliest date, inclusive.
    from: Option<Time>,
    /// The latest date, inclusive.
    to: Option<Time>,
}

/// Returns a page of the meetings that the caller may see, newest date first; it ends before its limit if their text
/// would not fit an answer.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn list(db: &mut Session, caller: &Caller, filter: &Filter) -> Result<Page<MeetingSummary>, Abort> {
    // `visible` has one arm for each reason why a meeting is visible. An arm reads its index from the cursor on, at
    // most `$2` rows per status, and reads nothing if it does not apply to the caller or the filter:
    //
    // 1. The admin's team, without a team member.
    // 2. `pairs`: the caller's own meetings in each team that has any, or those of one member in the admin's team. The
    //    recursion reads one row of the index per team.
    // 3. and 4. Meetings that the caller created in another admin's team, without and with a team member.
    // 5. Meetings that the caller created while leading the team, if they no longer do: no route creates such a row, so
    //    only this arm has conditions that no index decides.
    //
    // `LIMIT (SELECT $2)` hides the limit from the planner. If it sees one above the average number of rows, it expects
    // to need all of them, and sorts those of the largest team instead of scanning the index in order.
    //
    // Sizes are summed before a row's columns are read, and `CASE` reads only the rows that fit: text beyond the page is
    // read once, for its size. The transcript is never read.
    let before = filter.before();
    let from = filter.from.map_or(DateTime::UNIX_EPOCH, Time::at);
    let statuses: Vec<&str> = match filter.status {
        Some(status) => vec![status.name()],
        None => Status::ALL.map(Status::name).to_vec(),
    };
    let rows = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE caller AS (
            SELECT id, role = 'admin' AS admin FROM users WHERE clerk_id = $1
        ), teams AS (
            (SELECT team_id FROM meetings WHERE team_member_id = (SELECT id FROM caller) ORDER BY team_id LIMIT 1)
            UNION ALL
            SELECT (
                SELECT m.team_id FROM meetings m
                WHERE m.team_member_id = (SELECT id FROM caller) AND m.team_id > t.team_id
                ORDER BY m.team_id LIMIT 1
            )
            FROM teams t WHERE t.team_id IS NOT NULL
        ), pairs AS (
            SELECT id AS team_id, $7::uuid AS team_member_id FROM caller WHERE admin AND $7 IS NOT NULL
            UNION
            SELECT t.team_id, c.id FROM caller c, unnest(ARRAY(SELECT team_id FROM teams)) AS t (team_id)
            WHERE $7 IS NULL OR $7 = c.id
        ), visible AS (
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.team_id = (SELECT id FROM caller WHERE admin) AND $7 IS NULL
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM pairs p, unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.team_member_id = p.team_member_id AND m.team_id = p.team_id
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.created_by = (SELECT id FROM caller) AND m.created_by <> m.team_id AND $7 IS NULL
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.created_by = (SELECT id FROM caller) AND m.created_by <> m.team_id AND m.team_member_id = $7
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.team_id = (SELECT id FROM caller WHERE NOT admin) AND m.created_by = m.team_id
                    AND ($7 IS NULL OR m.team_member_id = $7)
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            ORDER BY date DESC, id DESC LIMIT $2
        ), sized AS (
            SELECT m.id, row_number() OVER page AS place, sum(octet_length(
                (m.executive_summary, m.agenda, m.wins, m.areas_for_support, m.key_insights, m.speakers)::text
            )) OVER page AS bytes
            FROM visible JOIN meetings m USING (id)
            WINDOW page AS (ORDER BY m.date DESC, m.id DESC)
        )
        SELECT
            CASE WHEN s.place = 1 OR s.bytes <= $8 THEN (
                SELECT to_jsonb(l) FROM (
                    SELECT
                        m.id, m.title, m.team_member_id, m.date, m.duration, m.status, m.meeting_type, m.platform,
                        m.platform_meeting_url, m.meeting_baas_id, m.processing_status, m.recording_url, m.speakers,
                        m.executive_summary, m.wins, m.areas_for_support, m.key_insights, m.agenda, m.created_by,
                        m.created_at, m.updated_at, m.version
                    FROM meetings m WHERE m.id = s.id
                ) l
            ) END AS "meeting: Json<MeetingSummary>"
        FROM caller
        LEFT JOIN sized s ON true
        ORDER BY s.place
        "#,
        caller.sub,
        filter.limit.rows_and_one(),
        before.at,
        before.id,
        from,
        &statuses as &[&str],
        filter.team_member_id.map(Id::uuid),
        PAGE_TEXT,
    )
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Err(Error::unknown_caller().into());
    }
    let fetched = rows.len();
    let items = rows.into_iter().flatten().map(|row| row.0).collect();
    Ok(Page::of_fetched(
        items,
        fetched,
        filter.limit,
        |last: &MeetingSummary| Cursor {
            at: last.date,
            id: last.id,
        },
    ))
}

impl Filter {
    /// Returns the start of the page: below the cursor and not above `to`, whichever is lower.
    fn before(&self) -> Cursor {
        let to = self.to.map(|to| Cursor {
            at: to.at() + TimeDelta::microseconds(1),
            id: Uuid::nil(),
        });
        let bounds = [self.cursor, to].into_iter().flatten();
        bounds
            .min_by_key(|cursor| (cursor.at, cursor.id))
            .unwrap_or(Cursor::NEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn before(query: serde_json::Value) -> Cursor {
        serde_json::from_value::<Filter>(query).unwrap().before()
    }

    #[test]
    fn page_starts_at_cursor_or_latest_date() {
        let to = "2026-03-02T00:00:00Z";
        let cursor = |day: u32| {
            let at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + i64::from(day));
            serde_json::to_value(Cursor { at, id: Uuid::max() }).unwrap()
        };
        assert_eq!(before(json!({})), Cursor::NEWEST);
        let latest = before(json!({"to": to}));
        let date: Time = serde_json::from_value(json!(to)).unwrap();
        // A meeting at exactly that time is still on the page, for any id.
        assert!((date.at(), Uuid::max()) < (latest.at, latest.id));
        assert_eq!(before(json!({"to": to, "cursor": cursor(0)})).id, Uuid::max());
        assert_eq!(before(json!({"to": to, "cursor": cursor(3000)})), latest);
    }
}
