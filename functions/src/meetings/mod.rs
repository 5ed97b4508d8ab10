//! Meetings: the resource, and reading, listing, creating and deleting it.
//!
//! | file | purpose |
//! |---|---|
//! | [`fields`] | the fields that clients write, with their rules |
//! | [`mod@list`] | the page of meetings that a caller may see |
//! | [`agenda`] | the planned topics, or proposed ones |
//! | [`changes`] | updating a meeting, and the record of it |
//! | [`webhook`] | the recording service's deliveries |
//!
//! A meeting is visible to the admin of its team, and to its creator and its team member while they are on that team;
//! the admin may change and delete it. These rules are in one place, the SQL functions `sees`, `leads` and `manages` of
//! `migrations/0010_access.sql`. Every operation is one statement that reads the caller's row, checks the permission
//! and accesses the data, so a read is one round trip. Invariants: the answers for absent and invisible meetings are
//! identical, and a row is not read as a whole before its visibility is decided.

pub mod agenda;
pub mod changes;
pub mod fields;
pub mod list;
pub mod webhook;

use std::mem;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

pub use changes::{Changes, MeetingChange, update};
pub use fields::{Draft, MeetingType, Platform, ProcessingStatus, Status, Time};
pub use list::{Filter, ListedMeeting, list, of_member};

use crate::ids::MeetingId;
use crate::permission::{require_admin, require_admin_still};
use crate::tasks::Task;
use shared::db::{Session, WriteAttempt};
use shared::http::size;
use shared::http::{Abort, Caller, Error, IfMatch, Response};
use shared::write_query;

/// A meeting without its transcript, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct MeetingSummary {
    /// UUIDv7.
    pub id: Uuid,
    /// The title.
    pub title: String,
    /// The participant, on the creator's team.
    pub team_member_id: Uuid,
    /// The start time.
    #[serde(with = "shared::stored::time")]
    pub date: DateTime<Utc>,
    /// The planned duration, in minutes.
    pub duration: i32,
    /// The status.
    pub status: Status,
    /// The type.
    pub meeting_type: MeetingType,
    /// The platform.
    pub platform: Option<Platform>,
    /// The link to join the meeting.
    pub platform_meeting_url: Option<String>,
    /// The same link, under the name that Seer's pages read.
    #[serde(default)]
    pub google_meet_link: Option<String>,
    /// The recording service's `bot_id`.
    pub meeting_baas_id: Option<String>,
    /// The recording service's id of the calendar's event, its `event_uuid` or `event_id`: by it, a recording finds the
    /// only meeting of its event.
    pub calendar_event_id: Option<String>,
    /// The status of the recording.
    pub processing_status: ProcessingStatus,
    /// The address of the recording.
    pub recording_url: Option<String>,
    /// The speakers.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub speakers: Vec<String>,
    /// A short summary.
    pub executive_summary: Option<String>,
    /// Successes.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub wins: Vec<String>,
    /// Areas that need support.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub areas_for_support: Vec<String>,
    /// Insights.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub key_insights: Vec<String>,
    /// The planned topics.
    pub agenda: Option<String>,
    /// The user who created it.
    pub created_by: Uuid,
    /// The time of creation.
    #[serde(with = "shared::stored::time")]
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    #[serde(with = "shared::stored::time")]
    pub updated_at: DateTime<Utc>,
    /// Increases with every change; clients see it as the ETag.
    #[serde(skip_serializing)]
    pub version: i32,
}

/// A meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Meeting {
    /// Everything else.
    #[serde(flatten)]
    pub summary: MeetingSummary,
    /// The transcript. A recorded one is JSON as text: an array of turns, `{speaker, words: [{start, end, word}]}`, with
    /// the times in seconds.
    pub transcript: Option<String>,
    /// Its tasks, oldest first: as many as fit the answer, which is all of them for nearly every meeting.
    #[serde(default)]
    pub tasks_data: Vec<Task>,
}

impl MeetingSummary {
    /// Adds the members that are not columns.
    fn completed(mut self) -> Self {
        self.google_meet_link.clone_from(&self.platform_meeting_url);
        self
    }
}

impl Meeting {
    /// Returns the meeting of a row, with its tasks.
    fn of(Json(mut row): Json<Self>, tasks: Option<Json<Vec<Task>>>) -> Self {
        row.summary = row.summary.completed();
        row.tasks_data = tasks.map(|tasks| tasks.0).unwrap_or_default();
        row
    }

    /// Returns the meeting with its ETag, as `answer` writes it, without the tasks that would not fit. No route stores a
    /// meeting that does not fit without them, but the row of a recording may hold one: it loses the end of its transcript.
    pub fn into_response(mut self, answer: fn(&Self) -> Response) -> Response {
        let mut response = answer(&self);
        if !response.fits() {
            let mut tasks = mem::take(&mut self.tasks_data);
            size::fit_beside(&mut tasks, &self);
            self.tasks_data = tasks;
            response = answer(&self);
        }
        if !response.fits()
            && let Some(mut transcript) = self.transcript.take()
        {
            size::cut_beside(&mut transcript, &self);
            self.transcript = Some(transcript);
            response = answer(&self);
        }
        response.with_etag(self.summary.version)
    }
}

/// Returns one meeting.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn get(db: &mut Session, caller: &Caller, id: MeetingId) -> Result<Meeting, Abort> {
    // The row is read in a subquery, after its visibility was checked: joined as a whole, the text of a row that the
    // caller may not see would be decompressed before the check.
    let row = sqlx::query!(
        r#"
        SELECT
            (SELECT to_jsonb(m) FROM meetings m WHERE m.id = seen.id) AS "meeting: Json<Meeting>",
            (
                SELECT jsonb_agg(t ORDER BY t.created_at, t.id) FROM (
                    SELECT * FROM tasks WHERE meeting_id = seen.id ORDER BY created_at, id LIMIT 1000
                ) t
            ) AS "tasks: Json<Vec<Task>>"
        FROM users u
        LEFT JOIN meetings seen ON seen.id = $2 AND sees(u, seen)
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        id.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    let meeting = row.meeting.ok_or_else(|| Error::not_found("meeting"))?;
    Ok(Meeting::of(meeting, row.tasks))
}

/// Creates a meeting of the caller's team.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403 unless they are an admin, 422 for a team member of another team, 409
/// for a `meetingBaasId` that another meeting has.
pub async fn create(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    draft: &Draft,
) -> Result<Meeting, Abort> {
    // The lock waits for a caller who is just joining another team: they are no admin afterwards.
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT id, role = 'admin' AS admin FROM users, known WHERE clerk_id = $5 AND clear
            FOR KEY SHARE OF users
        ), created AS (
            INSERT INTO meetings (
                id, team_id, created_by, team_member_id, title, date, duration, status, meeting_type, platform,
                platform_meeting_url, meeting_baas_id, calendar_event_id, recording_url, transcript, speakers,
                executive_summary, wins, areas_for_support, key_insights, agenda
            )
            SELECT
                n.id, c.id, c.id, t.id, n.title, n.date, n.duration, n.status, n.meeting_type, n.platform,
                n.platform_meeting_url, n.meeting_baas_id, n.calendar_event_id, n.recording_url, n.transcript, n.speakers,
                n.executive_summary, n.wins, n.areas_for_support, n.key_insights, n.agenda
            FROM caller c, jsonb_populate_record(NULL::meetings, $6) n
            JOIN users t ON t.id = n.team_member_id
            WHERE c.admin AND team_of(t) = c.id
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
    require_admin(
        row.admin.ok_or_else(Error::unknown_caller)?,
        "Only an admin may create a meeting.",
    )?;
    Ok(Meeting::of(row.meeting.ok_or_else(stranger)?, None))
}

/// Deletes a meeting with its tasks and its record of changes.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 unless they lead its team, 412.
pub async fn delete(
    db: &mut Session,
    attempt: &WriteAttempt,
    caller: &Caller,
    id: MeetingId,
    if_match: &IfMatch,
) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"caller AS (
            SELECT u AS person FROM users u, known WHERE clerk_id = $5 AND clear
        ), seen AS (
            SELECT m.id, leads(c.person, m) AS leads, $7::text[] IS NULL OR m.version::text = ANY ($7) AS matches
            FROM caller c JOIN meetings m ON m.id = $6 AND sees(c.person, m)
            FOR UPDATE OF m
        ), deleted AS (
            DELETE FROM meetings m USING seen s WHERE m.id = s.id AND s.leads AND s.matches RETURNING m.id, m.version
        ), changed AS (
            SELECT 'meeting' AS kind, id, version, 204 AS status FROM deleted
        )"#,
        r#"(c.person).id AS "caller?", s.leads AS "leads?", s.matches AS "matches?"
        FROM known LEFT JOIN caller c ON true LEFT JOIN seen s ON true"#,
        caller.sub,
        id.0,
        if_match.versions() as _,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    row.caller.ok_or_else(Error::unknown_caller)?;
    if !row.leads.ok_or_else(|| Error::not_found("meeting"))? {
        return Err(Error::forbidden(DELETE_REFUSAL).into());
    }
    if row.matches != Some(true) {
        return Err(Error::precondition_failed().into());
    }
    Ok(())
}

/// Checks that the caller still leads a team, for a replay: the meeting itself is gone.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403.
pub async fn deleted(db: &mut Session, caller: &Caller) -> Result<(), Abort> {
    require_admin_still(db, caller, DELETE_REFUSAL).await
}

const DELETE_REFUSAL: &str = "Only the admin of its team may delete a meeting.";

fn stranger() -> Error {
    Error::field("teamMemberId", "must be somebody of the meeting's team")
}

/// Another meeting has this bot already: the only constraint that a client's input can violate.
fn known_bot(error: sqlx::Error) -> Abort {
    if error.as_database_error().and_then(|e| e.constraint()) == Some("meetings_meeting_baas_id_key") {
        return Error::conflict("Another meeting has this meetingBaasId.").into();
    }
    error.into()
}
