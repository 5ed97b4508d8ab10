//! Meetings: the resource, and reading, listing, creating and deleting it.
//!
//! | file | purpose |
//! |---|---|
//! | [`fields`] | the fields that clients write, with their rules |
//! | `list.rs` | the page of meetings that a caller may see |
//! | [`changes`] | updating a meeting, and the record of it |
//! | [`webhook`] | the recording service's deliveries |
//!
//! A meeting is visible to its creator, its team member and the admin of its team; that admin, and a creator who is an
//! admin, may change and delete it. Every operation is one statement that reads the caller's row, checks the permission
//! and accesses the data, so a read is one round trip. Invariants: the answers for absent and invisible meetings are
//! identical.

pub mod changes;
pub mod fields;
mod list;
pub mod webhook;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

pub use changes::{Changes, MeetingChange, update};
pub use fields::{Draft, MeetingType, Platform, ProcessingStatus, Status, Time};
pub use list::{Filter, list};

use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Caller, Error, IfMatch};
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
    /// The recording service's `bot_id`.
    pub meeting_baas_id: Option<String>,
    /// The status of the recording.
    pub processing_status: ProcessingStatus,
    /// The address of the recording.
    pub recording_url: Option<String>,
    /// The speakers.
    pub speakers: Vec<String>,
    /// A short summary.
    pub executive_summary: Option<String>,
    /// Successes.
    pub wins: Vec<String>,
    /// Areas that need support.
    pub areas_for_support: Vec<String>,
    /// Insights.
    pub key_insights: Vec<String>,
    /// The planned topics.
    pub agenda: Option<String>,
    /// The user who created it.
    pub created_by: Uuid,
    /// The time of creation.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
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
    /// The transcript: one line per turn.
    pub transcript: Option<String>,
}

/// Returns one meeting.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn get(db: &mut Session, caller: &Caller, id: Uuid) -> Result<Meeting, Abort> {
    // The row is read in a subquery, after its visibility was checked: joined as a whole, the text of a row that the
    // caller may not see would be decompressed before the check.
    let meeting = sqlx::query_scalar!(
        r#"
        SELECT (SELECT to_jsonb(m) FROM meetings m WHERE m.id = seen.id) AS "meeting: Json<Meeting>"
        FROM users u
        LEFT JOIN meetings seen ON seen.id = $2
            AND (u.id IN (seen.created_by, seen.team_member_id) OR u.role = 'admin' AND u.id = seen.team_id)
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
/// Fails with 401 for an unregistered caller, 404, 403 unless they are an admin who may change it, 412.
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
