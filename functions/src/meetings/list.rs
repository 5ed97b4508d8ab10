//! The lists of meetings: a page of those that the caller may see, newest date first.
//!
//! Invariants: an index decides every condition, so the cost of a page depends only on its rows, regardless of the
//! filter and of other users' meetings. Each index starts with its owner, then the status, then the sort key: a list of
//! every status scans the index once per status and merges. `tests/lists` verifies this for every filter.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::{MeetingSummary, Status, Time};
use crate::ids::UserId;
use crate::users::Contact;
use shared::db::Session;
use shared::http::page::{Cursor, Limit, Page, PageQuery};
use shared::http::{Abort, Caller, Error};
use shared::stored::Timestamp;
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
    #[serde(deserialize_with = "uuid")]
    team_member_id: Option<Uuid>,
    /// The earliest date, inclusive.
    from: Option<Time>,
    /// The latest date, inclusive.
    to: Option<Time>,
}

/// A meeting as lists show it: without its transcript, and with the names of its people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct ListedMeeting {
    /// Everything else.
    #[serde(flatten)]
    pub summary: MeetingSummary,
    /// The user who created it.
    pub user: Contact,
    /// The participant.
    pub team_member: Contact,
}

/// Returns a page of the meetings that the caller may see, newest date first; it ends before its limit if their text
/// would not fit an answer.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn list(db: &mut Session, caller: &Caller, filter: &Filter) -> Result<Page<ListedMeeting>, Abort> {
    Ok(rows(db, caller, filter).await?.0)
}

/// Returns a page of the meetings with `member` that the caller may see, newest date first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404 unless the member is on the caller's team.
pub async fn of_member(
    db: &mut Session,
    caller: &Caller,
    member: UserId,
    query: &PageQuery,
) -> Result<Page<ListedMeeting>, Abort> {
    let filter = Filter {
        limit: query.limit,
        cursor: query.cursor,
        team_member_id: Some(member.0),
        ..Filter::default()
    };
    let (page, on_the_team) = rows(db, caller, &filter).await?;
    if !on_the_team {
        return Err(Error::not_found("user").into());
    }
    Ok(page)
}

/// Returns a page, and whether the filter's team member is on the caller's team.
async fn rows(db: &mut Session, caller: &Caller, filter: &Filter) -> Result<(Page<ListedMeeting>, bool), Abort> {
    // `visible` has one arm for each reason why a meeting of the caller's team is visible. An arm reads its index from
    // the cursor on, at most `$2` rows per status, and reads nothing if it does not apply to the caller or the filter:
    //
    // 1. Without a team member: all meetings, for the team's admin.
    // 2. Those with one team member: any for the admin, themself for a member.
    // 3. and 4. Meetings that a member created, without and with a team member. No route creates such a row.
    //
    // `LIMIT (SELECT $2)` hides the limit from the planner. If it sees one above the average number of rows, it expects
    // to need all of them, and sorts those of the largest team instead of scanning the index in order.
    //
    // Sizes are summed before a row's columns are read, and `CASE` reads only the rows that fit: text beyond the page is
    // read once, for its size. The transcript is never read.
    let before = filter.before();
    let from = filter.from.map_or(DateTime::<Utc>::MIN_UTC, Time::at);
    let statuses: Vec<&str> = match filter.status {
        Some(status) => vec![status.name()],
        None => Status::ALL.map(Status::name).to_vec(),
    };
    let rows = sqlx::query!(
        r#"
        WITH caller AS (
            SELECT id, team_of(u) AS team_id, id = team_of(u) AS leads FROM users u WHERE clerk_id = $1
        ), pair AS (
            SELECT team_id, CASE WHEN leads THEN $7::uuid ELSE id END AS team_member_id FROM caller
            WHERE leads OR $7 IS NULL OR $7 = id
        ), visible AS (
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.team_id = (SELECT id FROM caller WHERE leads) AND $7 IS NULL
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.team_member_id = (SELECT team_member_id FROM pair) AND m.team_id = (SELECT team_id FROM pair)
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.created_by = (SELECT id FROM caller WHERE NOT leads) AND m.created_by <> m.team_id
                    AND m.team_id = (SELECT team_id FROM caller) AND $7 IS NULL
                    AND m.status = s.status AND (m.date, m.id) < ($3, $4) AND m.date >= $5
                ORDER BY date DESC, id DESC LIMIT (SELECT $2::bigint)
            ) w
            UNION
            SELECT w.* FROM unnest($6::text[]) AS s (status), LATERAL (
                SELECT date, id FROM meetings m
                WHERE m.created_by = (SELECT id FROM caller WHERE NOT leads) AND m.created_by <> m.team_id
                    AND m.team_id = (SELECT team_id FROM caller) AND m.team_member_id = $7
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
            EXISTS (SELECT FROM users t WHERE t.id = $7 AND team_of(t) = c.team_id) AS "on_the_team!",
            s.id IS NOT NULL AS "found!",
            CASE WHEN s.place = 1 OR s.bytes <= $8 THEN (
                SELECT to_jsonb(l) FROM (
                    SELECT
                        m.id, m.title, m.team_member_id, m.date, m.duration, m.status, m.meeting_type, m.platform,
                        m.platform_meeting_url, m.meeting_baas_id, m.calendar_event_id, m.processing_status,
                        m.recording_url, m.speakers, m.executive_summary, m.wins, m.areas_for_support, m.key_insights, m.agenda, m.created_by,
                        m.created_at, m.updated_at, m.version,
                        jsonb_build_object('id', u.id, 'name', u.name, 'email', u.email) AS user,
                        jsonb_build_object('id', t.id, 'name', t.name, 'email', t.email) AS team_member
                    FROM meetings m JOIN users u ON u.id = m.created_by JOIN users t ON t.id = m.team_member_id
                    WHERE m.id = s.id
                ) l
            ) END AS "meeting: Json<ListedMeeting>"
        FROM caller c
        LEFT JOIN sized s ON true
        ORDER BY s.place
        "#,
        caller.sub,
        filter.limit.rows_and_one(),
        Timestamp(before.at) as _,
        before.id,
        Timestamp(from) as _,
        &statuses as &[&str],
        filter.team_member_id,
        PAGE_TEXT,
    )
    .fetch_all(db)
    .await?;
    let first = rows.first().ok_or_else(Error::unknown_caller)?;
    let on_the_team = first.on_the_team;
    let fetched = rows.iter().filter(|row| row.found).count();
    let items = rows
        .into_iter()
        .filter_map(|row| row.meeting)
        .map(|Json(row)| ListedMeeting {
            summary: row.summary.completed(),
            ..row
        });
    let page = Page::of_fetched(items.collect(), fetched, filter.limit, |last: &ListedMeeting| Cursor {
        at: last.summary.date,
        id: last.summary.id,
    });
    Ok((page, on_the_team))
}

fn uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
    Id::deserialize(deserializer).map(|id| Some(id.uuid()))
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
