//! Meetings: what they are, and reading, listing, creating and deleting them.
//!
//! | file | holds |
//! |---|---|
//! | [`fields`] | what a client may write, with each field's rule |
//! | [`changes`] | updating a meeting, and the record of it |
//! | [`webhook`] | what the recording service reports |
//!
//! A meeting is visible to its creator, its team member and the admin of its team; that admin, and a creator who is an
//! admin, may change and delete it. Every operation is one statement that holds the caller's row, that check and the
//! data, so a read is one round trip. May not: answer differently for what is absent and what is invisible.

pub mod changes;
pub mod fields;
pub mod webhook;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

pub use changes::{Changes, MeetingChange, update};
pub use fields::{Draft, MeetingType, Platform, ProcessingStatus, Status, Time};

use crate::db::{Session, WriteAttempt};
use crate::http::page::{self, Cursor, Limit, Page};
use crate::http::{Abort, Caller, Error, IfMatch};
use crate::text::Id;
use crate::write_query;

/// What of its meetings' text is fetched for a page, in bytes: more fits no answer. What its escapes make of it is for
/// [`page::fit`] to weigh.
const PAGE_TEXT: i64 = 3 * 1024 * 1024;

/// A meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Meeting {
    /// UUIDv7.
    pub id: Uuid,
    /// What it is about.
    pub title: String,
    /// With whom; somebody of the creator's team.
    pub team_member_id: Uuid,
    /// When it starts.
    pub date: DateTime<Utc>,
    /// How long it is planned to last, in minutes.
    pub duration: i32,
    /// Where it stands.
    pub status: Status,
    /// What kind it is.
    pub meeting_type: MeetingType,
    /// Where it is held.
    pub platform: Option<Platform>,
    /// The link to join it.
    pub platform_meeting_url: Option<String>,
    /// The recording service's `bot_id`.
    pub meeting_baas_id: Option<String>,
    /// Where its recording stands.
    pub processing_status: ProcessingStatus,
    /// Where the recording is.
    pub recording_url: Option<String>,
    /// Who said what: a line for each turn.
    pub transcript: Option<String>,
    /// Who spoke.
    pub speakers: Vec<String>,
    /// What it came to, in short.
    pub executive_summary: Option<String>,
    /// What went well.
    pub wins: Vec<String>,
    /// What needs help.
    pub areas_for_support: Vec<String>,
    /// What was learned.
    pub key_insights: Vec<String>,
    /// What is to be talked about.
    pub agenda: Option<String>,
    /// Who created it.
    pub created_by: Uuid,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts up with every change; clients see it as the ETag.
    #[serde(skip_serializing)]
    pub version: i32,
}

/// Which meetings to list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filter {
    limit: Limit,
    cursor: Option<Cursor>,
    status: Option<Status>,
    team_member_id: Option<Id>,
    /// The earliest date, itself included.
    from: Option<Time>,
    /// The latest date, itself included.
    to: Option<Time>,
}

/// One meeting.
///
/// # Errors
/// 401 for an unregistered caller, 404.
pub async fn get(db: &mut Session, caller: &Caller, id: Uuid) -> Result<Meeting, Abort> {
    let meeting = sqlx::query_scalar!(
        r#"
        SELECT to_jsonb(m) AS "meeting: Json<Meeting>"
        FROM users u
        LEFT JOIN meetings m ON m.id = $2
            AND (u.id IN (m.created_by, m.team_member_id) OR u.role = 'admin' AND u.id = m.team_id)
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        id,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    Ok(meeting.ok_or_else(|| Error::not_found("meeting"))?.0)
}

/// A page of the meetings the caller may see, newest date first; it ends before its limit when their text grows long.
///
/// # Errors
/// 401 for an unregistered caller.
pub async fn list(db: &mut Session, caller: &Caller, filter: &Filter) -> Result<Page<Meeting>, Abort> {
    // Each of the three ways to see a meeting walks its own index from the cursor on, no further than the limit. Sizes
    // are summed before a row is read whole: text that does not fit the page is never unpacked.
    let before = filter.before();
    let from = filter.from.map_or(DateTime::UNIX_EPOCH, Time::at);
    let status = filter.status.map(Status::name);
    let rows = sqlx::query_scalar!(
        r#"
        WITH caller AS (
            SELECT id, role FROM users WHERE clerk_id = $1
        ), visible AS (
            (SELECT date, id FROM meetings
             WHERE team_id = (SELECT id FROM caller WHERE role = 'admin')
                AND (date, id) < ($3, $4) AND date >= $5
                AND ($6::text IS NULL OR status = $6) AND ($7::uuid IS NULL OR team_member_id = $7)
             ORDER BY date DESC, id DESC LIMIT $2)
            UNION
            (SELECT date, id FROM meetings
             WHERE team_member_id = (SELECT id FROM caller)
                AND (date, id) < ($3, $4) AND date >= $5
                AND ($6::text IS NULL OR status = $6) AND ($7::uuid IS NULL OR team_member_id = $7)
             ORDER BY date DESC, id DESC LIMIT $2)
            UNION
            (SELECT date, id FROM meetings
             WHERE created_by = (SELECT id FROM caller)
                AND (date, id) < ($3, $4) AND date >= $5
                AND ($6::text IS NULL OR status = $6) AND ($7::uuid IS NULL OR team_member_id = $7)
             ORDER BY date DESC, id DESC LIMIT $2)
            ORDER BY date DESC, id DESC LIMIT $2
        ), sized AS (
            SELECT m.id, row_number() OVER page AS place, sum(coalesce(octet_length(m.transcript), 0) + octet_length(
                (m.executive_summary, m.agenda, m.wins, m.areas_for_support, m.key_insights, m.speakers)::text
            )) OVER page AS bytes
            FROM visible JOIN meetings m USING (id)
            WINDOW page AS (ORDER BY m.date DESC, m.id DESC)
        )
        SELECT to_jsonb(m) AS "meeting: Json<Meeting>"
        FROM caller
        LEFT JOIN sized s ON true
        LEFT JOIN meetings m ON m.id = s.id AND (s.place = 1 OR s.bytes <= $8)
        ORDER BY s.place
        "#,
        caller.sub,
        filter.limit.rows_and_one(),
        before.at,
        before.id,
        from,
        status,
        filter.team_member_id.map(Id::uuid),
        PAGE_TEXT,
    )
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Err(Error::unknown_caller().into());
    }
    let fetched = rows.len();
    let mut items: Vec<Meeting> = rows
        .into_iter()
        .flatten()
        .map(|row| row.0)
        .take(filter.limit.rows())
        .collect();
    page::fit(&mut items);
    let more = items.len() < fetched;
    let next_cursor = items.last().filter(|_| more).map(|last| Cursor {
        at: last.date,
        id: last.id,
    });
    Ok(Page { items, next_cursor })
}

/// Creates a meeting of the caller's team.
///
/// # Errors
/// 401 for an unregistered caller, 403 unless they are an admin, 422 for a team member of another team, 409 for a
/// `meetingBaasId` that another meeting has.
pub async fn create(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    draft: &Draft,
) -> Result<Meeting, Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, role = 'admin' AS admin FROM users, known WHERE clerk_id = $5 AND clear
        ), created AS (
            INSERT INTO meetings (
                id, team_id, created_by, team_member_id, title, date, duration, status, meeting_type, platform,
                platform_meeting_url, meeting_baas_id, recording_url, transcript, speakers, executive_summary, wins,
                areas_for_support, key_insights, agenda
            )
            SELECT
                n.id, c.id, c.id, t.id, n.title, n.date, n.duration, n.status, n.meeting_type, n.platform,
                n.platform_meeting_url, n.meeting_baas_id, n.recording_url, n.transcript, n.speakers,
                n.executive_summary, n.wins, n.areas_for_support, n.key_insights, n.agenda
            FROM caller c, jsonb_populate_record(NULL::meetings, $6) n
            JOIN users t ON t.id = n.team_member_id
            WHERE c.admin AND c.id IN (t.id, t.admin_id)
            RETURNING *
        ), changed AS (
            SELECT 'meeting' AS kind, id, version, 201 AS status FROM created
        )"#,
        r#"c.admin AS "admin?", to_jsonb(m) AS "meeting: Json<Meeting>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN created m ON true"#,
        caller.sub,
        Json(draft) as _,
    )
    .fetch_one(db)
    .await
    .map_err(known_bot)?;
    attempt.check(row.receipt, row.nonce)?;
    if !row.admin.ok_or_else(Error::unknown_caller)? {
        return Err(Error::forbidden("Only an admin may create a meeting.").into());
    }
    Ok(row.meeting.ok_or_else(stranger)?.0)
}

/// Deletes a meeting with its tasks and its record of changes.
///
/// # Errors
/// 401 for an unregistered caller, 404, 403 unless they are an admin who may change it, 412.
pub async fn delete(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    id: Uuid,
    if_match: &IfMatch,
) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, role FROM users, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT
                m.id, c.role = 'admin' AND c.id IN (m.team_id, m.created_by) AS manages,
                $7::text[] IS NULL OR m.version::text = ANY ($7) AS matches
            FROM caller c
            JOIN meetings m ON c.id IN (m.created_by, m.team_member_id) OR c.role = 'admin' AND c.id = m.team_id
            WHERE m.id = $6
            FOR UPDATE OF m
        ), deleted AS (
            DELETE FROM meetings m USING seen s WHERE m.id = s.id AND s.manages AND s.matches RETURNING m.id, m.version
        ), changed AS (
            SELECT 'meeting' AS kind, id, version, 204 AS status FROM deleted
        )"#,
        r#"c.id AS "caller?", s.manages AS "manages?", s.matches AS "matches?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true"#,
        caller.sub,
        id,
        if_match.versions() as _,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    if !row.manages.ok_or_else(|| Error::not_found("meeting"))? {
        return Err(Error::forbidden("Only the admin of its team may delete a meeting.").into());
    }
    if row.matches != Some(true) {
        return Err(Error::precondition_failed().into());
    }
    Ok(())
}

impl Filter {
    /// Where the page begins: below the cursor and not above `to`, whichever is lower.
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

fn stranger() -> Error {
    Error::field("teamMemberId", "must be somebody of the meeting's team")
}

/// A bot that records another meeting already: the only constraint a client's input can run into.
fn known_bot(error: sqlx::Error) -> Abort {
    if error.as_database_error().and_then(|e| e.constraint()) == Some("meetings_meeting_baas_id_key") {
        return Error::conflict("Another meeting has this meetingBaasId.").into();
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn before(query: serde_json::Value) -> Cursor {
        serde_json::from_value::<Filter>(query).unwrap().before()
    }

    #[test]
    fn a_page_begins_below_the_cursor_and_not_above_the_latest_date() {
        let to = "2026-03-02T00:00:00Z";
        let cursor = |day: u32| {
            let at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + i64::from(day));
            serde_json::to_value(Cursor { at, id: Uuid::max() }).unwrap()
        };
        assert_eq!(before(json!({})), Cursor::NEWEST);
        let latest = before(json!({"to": to}));
        let date: Time = serde_json::from_value(json!(to)).unwrap();
        // A meeting at that very time is still on the page, whatever its id.
        assert!((date.at(), Uuid::max()) < (latest.at, latest.id));
        assert_eq!(before(json!({"to": to, "cursor": cursor(0)})).id, Uuid::max());
        assert_eq!(before(json!({"to": to, "cursor": cursor(3000)})), latest);
    }
}
