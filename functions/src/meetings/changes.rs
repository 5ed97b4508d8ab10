//! Updating a meeting, and the record of its changes.
//!
//! An update and its record are one statement. Concurrent updates wait for each other at the meeting's row, so the
//! previous values of a record are those that the update replaced.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::fields::{BotId, EventId, Lines, LongText, MeetingType, Minutes, Platform, Status, Time, Title, Transcript};
use super::{Meeting, known_bot, stranger};
use crate::ids::MeetingId;
use crate::partial::{self, given};
use crate::tasks::Task;
use shared::db::{Session, WriteAttempt};
use shared::http::page::{Cursor, Page, PageQuery};
use shared::http::size::ANSWER_LIMIT;
use shared::http::{Abort, Caller, Error, IfMatch};
use shared::stored::Timestamp;
use shared::text::{HttpUrl, Id};
use shared::write_query;

/// The fields of a meeting that a client changes: at least one. Includes the id of the change's record: created once,
/// so that the update can be retried.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Changes {
    id: Uuid,
    fields: Fields,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"), deny_unknown_fields, default)]
struct Fields {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    title: Option<Title>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    team_member_id: Option<Id>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    date: Option<Time>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    duration: Option<Minutes>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    meeting_type: Option<MeetingType>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    platform: Option<Option<Platform>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    platform_meeting_url: Option<Option<HttpUrl>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    meeting_baas_id: Option<Option<BotId>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    calendar_event_id: Option<Option<EventId>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    recording_url: Option<Option<HttpUrl>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    transcript: Option<Option<Transcript>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    speakers: Option<Lines>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    executive_summary: Option<Option<LongText>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    wins: Option<Lines>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    areas_for_support: Option<Lines>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    key_insights: Option<Lines>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    agenda: Option<Option<LongText>>,
}

impl TryFrom<Fields> for Changes {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        if fields == Fields::default() {
            return Err(partial::NOTHING);
        }
        Ok(Self {
            id: Uuid::now_v7(),
            fields,
        })
    }
}

/// The kind of an update, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeType {
    /// The meeting will not take place.
    Cancelled,
    /// The meeting's date or duration changed.
    Rescheduled,
    /// The meeting's title changed.
    Renamed,
    /// Another field changed.
    Updated,
}

/// The record of one update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct MeetingChange {
    /// UUIDv7.
    pub id: Uuid,
    /// The changed meeting.
    pub meeting_id: Uuid,
    /// The kind of change.
    pub change_type: ChangeType,
    /// The previous title; null, as the new one, if the update did not change it.
    pub previous_title: Option<String>,
    /// The previous date; null, as the new one, if the update did not change it.
    #[serde(with = "shared::stored::optional_time")]
    pub previous_date: Option<DateTime<Utc>>,
    /// The previous duration, in minutes; null, as the new one, if the update did not change it.
    pub previous_duration: Option<i32>,
    /// The new title.
    pub new_title: Option<String>,
    /// The new date.
    #[serde(with = "shared::stored::optional_time")]
    pub new_date: Option<DateTime<Utc>>,
    /// The new duration, in minutes.
    pub new_duration: Option<i32>,
    /// The time of the change.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
}

impl MeetingChange {
    /// Clears the pairs that do not differ.
    fn only_differences(mut self) -> Self {
        fn clear<T: PartialEq>(previous: &mut Option<T>, new: &mut Option<T>) {
            if previous == new {
                (*previous, *new) = (None, None);
            }
        }
        clear(&mut self.previous_title, &mut self.new_title);
        clear(&mut self.previous_date, &mut self.new_date);
        clear(&mut self.previous_duration, &mut self.new_duration);
        self
    }
}

/// Changes a meeting and records the change.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they lead its team, 412, 422 for a team
/// member of another team, 409 for a `meetingBaasId` that another meeting has.
pub async fn update(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    id: MeetingId,
    if_match: &IfMatch,
    changes: &Changes,
) -> Result<Meeting, Abort> {
    // `seen` reads the whole row, so only of a meeting that is `visible`. A team member is checked only if one is given: the
    // one of an old meeting may have left. An unchanged transcript is taken from the old row itself, so that its pages are not written again. The answer is
    // JSON within JSON: its size is that of the row's JSON, escaped once more.
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), visible AS (
            SELECT m.id FROM caller c JOIN meetings m ON m.id = $6 AND sees(c.person, m)
        ), seen AS (
            SELECT
                m AS old, leads(c.person, m) AS leads, $9::text[] IS NULL OR m.version::text = ANY ($9) AS matches
            FROM visible v CROSS JOIN caller c JOIN meetings m ON m.id = v.id AND sees(c.person, m)
            FOR NO KEY UPDATE OF m
        ), wanted AS (
            SELECT
                n.*,
                NOT $7 ? 'team_member_id' OR EXISTS (
                    SELECT FROM users t WHERE t.id = n.team_member_id AND team_of(t) = (s.old).team_id
                ) AS on_the_team,
                octet_length(to_json(to_jsonb(n)::text)::text) <= $10 AS fits
            FROM seen s, jsonb_populate_record(s.old, $7) n
            WHERE s.leads AND s.matches
        ), updated AS (
            UPDATE meetings m
            SET (
                title, team_member_id, date, duration, status, meeting_type, platform, platform_meeting_url,
                meeting_baas_id, calendar_event_id, recording_url, transcript, speakers, executive_summary, wins,
                areas_for_support, key_insights, agenda, version, updated_at
            ) = ROW (
                n.title, n.team_member_id, n.date, n.duration, n.status, n.meeting_type, n.platform,
                n.platform_meeting_url, n.meeting_baas_id, n.calendar_event_id, n.recording_url,
                CASE WHEN $7 ? 'transcript' THEN n.transcript ELSE m.transcript END,
                n.speakers, n.executive_summary, n.wins, n.areas_for_support, n.key_insights,
                n.agenda, m.version + 1, clock_timestamp()
            )
            FROM wanted n
            WHERE m.id = n.id AND n.on_the_team AND n.fits
            RETURNING m.*
        ), recorded AS (
            INSERT INTO meeting_changes (
                id, meeting_id, change_type, previous_title, previous_date, previous_duration, new_title, new_date,
                new_duration, created_at
            )
            SELECT
                $8, u.id,
                CASE
                    WHEN u.status = 'cancelled' AND (s.old).status <> 'cancelled' THEN 'cancelled'
                    WHEN (u.date, u.duration) <> ((s.old).date, (s.old).duration) THEN 'rescheduled'
                    WHEN u.title <> (s.old).title THEN 'renamed'
                    ELSE 'updated'
                END,
                (s.old).title, (s.old).date, (s.old).duration, u.title, u.date, u.duration, u.updated_at
            FROM updated u, seen s
        ), changed AS (
            SELECT 'meeting' AS kind, id, version, 200 AS status FROM updated
        )"#,
        r#"(c.person).id AS "caller?", s.leads AS "leads?", s.matches AS "matches?", w.on_the_team AS "on_the_team?",
            to_jsonb(u) AS "meeting: Json<Meeting>", (
                SELECT jsonb_agg(t ORDER BY t.created_at, t.id) FROM (
                    SELECT * FROM tasks WHERE meeting_id = u.id ORDER BY created_at, id LIMIT 1000
                ) t
            ) AS "tasks: Json<Vec<Task>>"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true LEFT JOIN wanted w ON true
        LEFT JOIN updated u ON true"#,
        caller.sub,
        id.0,
        Json(&changes.fields) as _,
        changes.id,
        if_match.versions() as _,
        ANSWER_LIMIT as i32,
    )
    .fetch_one(db)
    .await
    .map_err(known_bot)?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    if !row.leads.ok_or_else(|| Error::not_found("meeting"))? {
        return Err(Error::forbidden("Only the admin of its team may change a meeting.").into());
    }
    if row.matches != Some(true) {
        return Err(Error::precondition_failed().into());
    }
    if row.on_the_team != Some(true) {
        return Err(stranger().into());
    }
    let too_large = || Error::field("body", "would make the meeting larger than the 6 MB of an answer");
    Ok(Meeting::of(row.meeting.ok_or_else(too_large)?, row.tasks))
}

/// Returns a page of a meeting's changes, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn list(
    db: &mut Session,
    caller: &Caller,
    id: MeetingId,
    query: &PageQuery,
) -> Result<Page<MeetingChange>, Abort> {
    let before = query.cursor.unwrap_or(Cursor::NEWEST);
    // `LIMIT (SELECT $5)` hides the limit from the planner, as in the list of meetings. Only ids are read from the
    // meeting's row, so that absent and invisible meetings take the same time.
    let rows = sqlx::query!(
        r#"
        SELECT m.id AS "meeting?", to_jsonb(h) AS "change: Json<MeetingChange>"
        FROM users u
        LEFT JOIN meetings m ON m.id = $2 AND sees(u, m)
        LEFT JOIN LATERAL (
            SELECT * FROM meeting_changes
            WHERE meeting_id = m.id AND (created_at, id) < ($3, $4)
            ORDER BY created_at DESC, id DESC
            LIMIT (SELECT $5::bigint)
        ) h ON true
        WHERE u.clerk_id = $1
        ORDER BY h.created_at DESC, h.id DESC
        "#,
        caller.sub,
        id.0,
        Timestamp(before.at) as _,
        before.id,
        query.limit.rows_and_one(),
    )
    .fetch_all(db)
    .await?;
    let first = rows.first().ok_or_else(Error::unknown_caller)?;
    first.meeting.ok_or_else(|| Error::not_found("meeting"))?;
    let changes = rows
        .into_iter()
        .filter_map(|row| row.change)
        .map(|change| change.0.only_differences())
        .collect();
    Ok(Page::of(changes, query.limit, |last| Cursor {
        at: last.created_at,
        id: last.id,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: serde_json::Value) -> Result<Changes, String> {
        serde_json::from_value(body).map_err(|error| error.to_string())
    }

    #[test]
    fn only_given_fields_reach_the_row() {
        let changes = read(json!({"title": "New", "agenda": null, "wins": []})).unwrap();
        let row = serde_json::to_value(&changes.fields).unwrap();
        assert_eq!(row, json!({"title": "New", "agenda": null, "wins": []}));
    }

    #[test]
    fn null_clears_only_nullable_fields() {
        for field in [
            "title",
            "teamMemberId",
            "date",
            "duration",
            "status",
            "meetingType",
            "speakers",
            "keyInsights",
        ] {
            assert!(read(json!({field: null})).is_err(), "{field}");
        }
        for field in [
            "platform",
            "platformMeetingUrl",
            "meetingBaasId",
            "recordingUrl",
            "transcript",
            "agenda",
        ] {
            assert!(read(json!({field: null})).is_ok(), "{field}");
        }
    }

    #[test]
    fn empty_change_is_refused() {
        assert!(read(json!({})).unwrap_err().contains("at least one"));
        assert!(
            read(json!({"processingStatus": "completed"}))
                .unwrap_err()
                .contains("unknown field")
        );
    }
}
