//! The expectations: the table of statuses, the counts in answers, and the rows that a write changes.

use serde_json::{Value, json};

use super::scene::{CALLERS, Scene};
use crate::people::meeting;

/// An operation, the body of its request, and the status that each caller gets.
pub struct Row {
    /// The id of the operation.
    pub operation: &'static str,
    /// The body of its request.
    pub body: Option<Value>,
    expected: [u16; CALLERS.len()],
}

/// Returns the row of each operation.
#[rustfmt::skip]
pub fn rows(scene: &Scene) -> Vec<Row> {
    let member = scene.team.member.id;
    let texts = json!({"name": "x", "description": "x"});
    let recorded = json!({"event": "complete", "data": {"bot_id": "bot-1"}});
    let key = json!({"useCustomAI": false, "aiProvider": "openai", "apiKey": ""});
    let token = json!({"token": scene.token});
    let row = |operation, body: Option<Value>, expected| Row { operation, body, expected };
    let bare = |operation, expected| row(operation, None, expected);
    vec![
        //                                 none unreg invit membr colle creat f-mem f-cre admin o-adm o-mem
        bare("health",                     [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("users-me",                   [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("users-list",                 [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("users-get",                  [401, 401, 404, 200, 200, 200, 200, 404, 200, 404, 404]),
        bare("users-leave",                [401, 401, 409, 200, 200, 200, 409, 200, 409, 409, 200]),
        // An unregistered caller can do this.
        bare("users-register",             [401, 201, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("team-get",                   [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("team-members",               [401, 401, 200, 403, 403, 403, 200, 403, 200, 200, 403]),
        bare("team-remove",                [401, 401, 404, 403, 403, 403, 404, 403, 200, 404, 403]),
        bare("invitations-status",         [401, 401, 200, 403, 403, 403, 200, 403, 200, 200, 403]),
        bare("invitations-list",           [401, 401, 200, 403, 403, 403, 200, 403, 200, 200, 403]),
        bare("invitations-received",       [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("invitations-cancel",         [401, 401, 404, 403, 403, 403, 404, 403, 200, 404, 403]),
        bare("invitations-join",           [401, 401, 200, 404, 404, 404, 404, 404, 404, 404, 404]),
        bare("invitations-decline",        [401, 401, 200, 404, 404, 404, 404, 404, 404, 404, 404]),
        // The team is full.
        row("invitations-create", Some(json!({"email": "new@example.com"})),
                                           [401, 401, 201, 403, 403, 403, 201, 403, 409, 201, 403]),
        // Members of the team are on it already. An admin of an empty team with the link joins: the former member again.
        row("invitations-accept", Some(token),
                                           [401, 401, 200, 200, 200, 200, 200, 409, 409, 409, 409]),
        bare("analyses-list",              [401, 401, 404, 200, 403, 403, 200, 404, 200, 404, 404]),
        // A former member's analysis is the old team's.
        bare("analyses-get",               [401, 401, 404, 200, 403, 403, 404, 404, 200, 404, 404]),
        bare("analyses-current",           [401, 401, 404, 200, 403, 403, 200, 404, 200, 404, 404]),
        bare("key-areas-list",             [401, 401, 404, 200, 403, 403, 200, 404, 200, 404, 404]),
        row("key-areas-create", Some(texts.clone()),
                                           [401, 401, 404, 403, 403, 403, 404, 404, 201, 404, 404]),
        row("key-areas-update", Some(texts),
                                           [401, 401, 404, 403, 403, 403, 404, 404, 200, 404, 404]),
        bare("key-areas-delete",           [401, 401, 404, 403, 403, 403, 404, 404, 200, 404, 404]),
        bare("ai-settings-get",            [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        row("ai-settings-save", Some(key), [401, 501, 501, 501, 501, 501, 501, 501, 501, 501, 501]),
        bare("google-status",              [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("google-disconnect",          [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        row("google-prepare", Some(json!({"token": "x"})),
                                           [501; CALLERS.len()]),
        bare("meetings-list",              [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("meetings-with-team-members", [401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        bare("meetings-by-member",         [401, 401, 404, 200, 200, 200, 200, 404, 200, 404, 404]),
        // The participant is on another team for some callers, and is the former member themselves.
        row("meetings-create", Some(meeting(member, json!({}))),
                                           [401, 401, 422, 403, 403, 403, 201, 403, 201, 422, 403]),
        bare("meetings-get",               [401, 401, 404, 200, 404, 200, 404, 404, 200, 404, 404]),
        row("meetings-update", Some(json!({"title": "Mine"})),
                                           [401, 401, 404, 403, 404, 403, 404, 404, 200, 404, 404]),
        bare("meetings-delete",            [401, 401, 404, 403, 404, 403, 404, 404, 204, 404, 404]),
        bare("meetings-changes",           [401, 401, 404, 200, 404, 200, 404, 404, 200, 404, 404]),
        bare("meetings-agenda",            [401, 401, 404, 200, 404, 200, 404, 404, 200, 404, 404]),
        bare("tasks-list",                 [401, 401, 404, 200, 404, 200, 404, 404, 200, 404, 404]),
        bare("tasks-suggest",              [401, 401, 404, 200, 404, 200, 404, 404, 200, 404, 404]),
        row("tasks-create", Some(json!({"text": "x"})),
                                           [401, 401, 404, 403, 404, 201, 404, 404, 201, 404, 404]),
        row("tasks-update", Some(json!({"text": "x"})),
                                           [401, 401, 404, 403, 404, 200, 404, 404, 200, 404, 404]),
        bare("tasks-approve",              [401, 401, 404, 200, 404, 200, 404, 404, 200, 404, 404]),
        bare("tasks-delete",               [401, 401, 404, 403, 404, 204, 404, 404, 204, 404, 404]),
        bare("tasks-all",                  [401, 401, 200, 403, 403, 403, 200, 403, 200, 200, 403]),
        row("meetings-webhook", Some(recorded.clone()),
                                           [401; CALLERS.len()]),
        row("meetings-webhook-alias", Some(recorded),
                                           [401; CALLERS.len()]),
        row("clerk-webhook", Some(json!({"type": "user.deleted", "data": {"id": scene.team.member.sub}})),
                                           [401; CALLERS.len()]),
    ]
}

/// Returns the tables of the rows that a successful request changes at most, besides its receipt and its record in
/// `audit`.
pub fn changed_tables(operation: &str) -> &'static [&'static str] {
    match operation {
        "users-leave" | "users-register" | "team-remove" => &["users"],
        "invitations-accept" | "invitations-join" => &["users", "invitations"],
        "invitations-create" | "invitations-cancel" | "invitations-decline" => &["invitations"],
        "key-areas-create" | "key-areas-update" | "key-areas-delete" => &["key_areas"],
        "meetings-create" => &["meetings"],
        "meetings-update" => &["meetings", "meeting_changes"],
        "meetings-delete" => &["meetings", "meeting_changes", "tasks", "tasks"],
        "tasks-suggest" | "tasks-create" | "tasks-update" | "tasks-approve" | "tasks-delete" => &["tasks"],
        _ => &[],
    }
}

/// Returns the places of a team with so many members and pending invitations.
pub fn places(members: i64, pending: i64) -> Value {
    let free = 3 - members - pending;
    json!({
        "canInvite": free > 0,
        "currentCount": members,
        "pendingInvitations": pending,
        "remainingInvites": free,
    })
}

/// Returns members of a successful answer whose values show whose rows were counted, or where they are from.
pub fn counted(operation: &str, caller: &str) -> Value {
    match (operation, caller) {
        ("invitations-status", "admin") => places(2, 1),
        ("invitations-status", "other admin") => places(1, 1),
        ("invitations-status", _) => places(0, 0),
        ("invitations-create", "other admin") => json!({"inviteStatus": places(1, 2)}),
        ("invitations-create", _) => json!({"inviteStatus": places(0, 1)}),
        ("tasks-suggest", _) => json!({"suggestedTasksCount": 1, "areasForSupportCount": 1}),
        // Of the meeting that they see too, and not of a newer one of the creator, or of another team.
        ("meetings-agenda", "member" | "admin") => {
            json!({"note": "Proposed from the meeting of 2031-03-01: this one has no agenda of its own."})
        }
        ("analyses-current", "member" | "admin") => json!({"source": "analysis"}),
        _ => json!({}),
    }
}

/// Returns whether an answer contains the team's texts, for a caller with access to them.
pub fn shows_texts(operation: &str) -> bool {
    let lists = [
        "meetings-list",
        "meetings-with-team-members",
        "meetings-by-member",
        "tasks-list",
        "key-areas-list",
    ];
    let others = [
        "meetings-get",
        "meetings-changes",
        "analyses-list",
        "analyses-get",
        "analyses-current",
    ];
    lists.contains(&operation) || others.contains(&operation)
}

/// Returns who sends an operation's request successfully.
pub fn allowed(row: &Row) -> &'static str {
    match row.operation {
        "users-register" => "unregistered",
        "users-leave" => "member",
        // Who takes part in a meeting of another team as well.
        _ if row.operation.starts_with("tasks-") && row.status("creator") < 300 => "creator",
        _ if row.status("admin") < 300 => "admin",
        _ => "invited",
    }
}

impl Row {
    /// Returns the status that a caller gets.
    pub fn status(&self, caller: &str) -> u16 {
        self.expected[CALLERS.iter().position(|name| *name == caller).unwrap()]
    }
}
