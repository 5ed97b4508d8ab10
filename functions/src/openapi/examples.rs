//! Examples that several routes show: ids of the seed data (`cli/src/seed.sql`), and answers.

use serde_json::{Value, json};

/// An admin: the caller.
pub const ADMIN: &str = "01900000-0000-7000-8000-000000000001";
/// A member of the caller's team.
pub const MEMBER: &str = "01900000-0000-7000-8000-000000000002";
/// A meeting whose date was changed.
pub const MOVED_MEETING: &str = "01900000-0000-7000-8000-000000000101";
/// A recorded meeting, with tasks.
pub const RECORDED_MEETING: &str = "01900000-0000-7000-8000-000000000102";
/// A task of the recorded meeting.
pub const TASK: &str = "01900000-0000-7000-8000-000000000201";
/// An invitation by the caller.
pub const INVITATION: &str = "01900000-0000-7000-8000-000000000401";
/// A key area of the member.
pub const KEY_AREA: &str = "01900000-0000-7000-8000-000000000501";
/// An analysis of the member's meetings.
pub const ANALYSIS: &str = "01900000-0000-7000-8000-000000000601";

/// The caller.
pub fn user() -> Value {
    json!({
        "id": ADMIN,
        "email": "admin@example.com",
        "name": "Avery Adams",
        "role": "admin",
        "clerkId": "dev-admin",
        "adminId": null,
        "createdAt": "2026-03-02T09:30:00.123456Z",
        "updatedAt": "2026-03-02T09:30:00.123456Z",
    })
}

/// The caller, as their team sees them.
pub fn colleague() -> Value {
    let mut user = user();
    if let Some(members) = user.as_object_mut() {
        members.remove("clerkId");
    }
    user["lastAnalyzedAt"] = json!("2026-03-02T10:05:12.654321Z");
    user
}

/// The caller's name and address.
pub fn contact() -> Value {
    json!({"id": ADMIN, "name": "Avery Adams", "email": "admin@example.com"})
}

/// The answer to a caller who has accepted an invitation.
pub fn accepted() -> Value {
    let mut user = user();
    user["role"] = "user".into();
    user["adminId"] = "01900000-0000-7000-8000-000000000003".into();
    json!({"success": true, "message": "You are on the team now.", "user": user})
}

/// An invitation that was sent.
pub fn invitation() -> Value {
    json!({
        "id": INVITATION,
        "email": "invited@example.com",
        "status": "pending",
        "createdAt": "2026-03-02T09:30:00.123456Z",
        "updatedAt": "2026-03-02T09:30:00.123456Z",
        "expires": "2026-03-09T09:30:00.123456Z",
    })
}

/// The places of a team.
pub fn places() -> Value {
    json!({"canInvite": true, "currentCount": 1, "pendingInvitations": 1, "remainingInvites": 1})
}

/// A key area.
pub fn key_area() -> Value {
    json!({
        "id": KEY_AREA,
        "name": "Documentation",
        "description": "Every runbook is tried out once a quarter",
        "userId": MEMBER,
        "createdById": ADMIN,
        "createdBy": contact(),
        "createdAt": "2026-03-02T09:30:00.123456Z",
        "updatedAt": "2026-03-02T09:30:00.123456Z",
    })
}

/// An analysis of the member's meetings.
pub fn analysis() -> Value {
    json!({
        "id": ANALYSIS,
        "userId": MEMBER,
        "wins": ["The migration had no downtime"],
        "areasForSupport": ["Time to write documentation"],
        "tasks": ["Bring the migration runbook up to date"],
        "analyzedAt": "2026-03-02T10:05:12.654321Z",
    })
}

/// The recorded meeting.
pub fn meeting() -> Value {
    json!({
        "id": RECORDED_MEETING,
        "title": "Weekly 1:1 with Morgan",
        "teamMemberId": MEMBER,
        "date": "2026-03-02T09:30:00Z",
        "duration": 30,
        "status": "completed",
        "meetingType": "one_on_one",
        "platform": "google_meet",
        "platformMeetingUrl": "https://meet.google.com/abc-defg-hij",
        "googleMeetLink": "https://meet.google.com/abc-defg-hij",
        "meetingBaasId": "dev-bot-2",
        "calendarEventId": null,
        "processingStatus": "completed",
        "recordingUrl": "https://recordings.example.com/dev-bot-2.mp4",
        "transcript": r#"[{"speaker":"Avery Adams","words":[{"start":0.5,"end":0.9,"word":"Welcome."}]}]"#,
        "speakers": ["Avery Adams", "Morgan Meyer"],
        "executiveSummary": "The migration went well.",
        "wins": ["The migration had no downtime"],
        "areasForSupport": ["Time to write documentation"],
        "keyInsights": [],
        "agenda": "How the migration went",
        "createdBy": ADMIN,
        "createdAt": "2026-02-27T14:00:00.123456Z",
        "updatedAt": "2026-03-02T10:05:12.654321Z",
        "tasksData": [task()],
    })
}

/// The recorded meeting, as lists have it.
pub fn listed_meeting() -> Value {
    let mut meeting = meeting();
    if let Some(members) = meeting.as_object_mut() {
        members.remove("transcript");
        members.remove("tasksData");
    }
    meeting["user"] = contact();
    meeting["teamMember"] = json!({"id": MEMBER, "name": "Morgan Meyer", "email": "member@example.com"});
    meeting
}

/// A task of the recorded meeting.
pub fn task() -> Value {
    json!({
        "id": TASK,
        "text": "Bring the migration runbook up to date",
        "status": "incomplete",
        "assignedTo": MEMBER,
        "reasoning": null,
        "relatedAreaForSupport": "Time to write documentation",
        "suggestedAssignee": "team_member",
        "meetingId": RECORDED_MEETING,
        "createdAt": "2026-03-02T10:05:12.654321Z",
        "completedAt": null,
    })
}
