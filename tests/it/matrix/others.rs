//! The requests besides those of the table: ids of another team in bodies, and rows in another state.

use serde_json::{Value, json};

use super::expected::places;
use super::operations::Operation;
use super::scene::{Scene, leads_again};
use crate::people::meeting;

/// A request.
pub struct Request {
    /// A caller of the matrix.
    pub by: &'static str,
    /// The path, with the query.
    pub path: String,
    /// The body.
    pub body: Option<Value>,
    /// The SQL for the state of the rows.
    pub change: String,
    /// The expected status.
    pub status: u16,
    /// Expected members of the answer.
    pub shown: Value,
}

/// Returns the other requests of an operation: most name a person of another team, by the admin.
pub fn of(scene: &Scene, name: &str, operation: &Operation) -> Vec<Request> {
    let Scene {
        team,
        other,
        own,
        invited,
        strays,
        ..
    } = scene;
    let request = |status, body: Value| Request {
        by: "admin",
        path: scene.path(operation),
        body: (!body.is_null()).then_some(body),
        change: String::new(),
        status,
        shown: json!({}),
    };
    let stray = |of| operation.filled(&[strays[of]]);
    let person = other.member.id;
    match name {
        "meetings-create" => vec![request(422, meeting(person, json!({})))],
        "meetings-update" => vec![request(422, json!({ "teamMemberId": person }))],
        "tasks-create" => vec![request(422, json!({"text": "x", "assignedTo": person}))],
        "tasks-update" => vec![request(422, json!({ "assignedTo": person }))],
        // The suggested assignee has left the team.
        "tasks-approve" => {
            let suggest = "UPDATE tasks SET suggested_assignee = 'team_member' WHERE id =";
            vec![Request {
                change: format!("{suggest} '{}'; {}", own["tasks"], leads_again(&team.member)),
                shown: json!({"assignedTo": null}),
                ..request(200, Value::Null)
            }]
        }
        // From the meetings: although there is a newer analysis, and because there is none.
        "analyses-current" => vec![
            Request {
                path: format!("{}?forceRefresh=true", scene.path(operation)),
                shown: json!({"source": "meetings", "wins": ["Earlier"], "tasks": []}),
                ..request(200, Value::Null)
            },
            Request {
                change: "UPDATE analyses SET analyzed_at = '2000-01-01T00:00:00Z' WHERE wins = '{Secret}'".to_owned(),
                shown: json!({"source": "meetings"}),
                ..request(200, Value::Null)
            },
        ],
        // A person on another team, and again the invited person, for whom there is a place.
        "invitations-create" => vec![
            Request {
                by: "invited",
                shown: json!({"inviteStatus": places(0, 1)}),
                ..request(201, json!({"email": other.member.email}))
            },
            Request {
                shown: json!({"inviteStatus": places(2, 1)}),
                ..request(201, json!({"email": invited.email}))
            },
        ],
        // The invitation of a member.
        "invitations-join" => vec![Request {
            by: "invited",
            path: stray("invitations"),
            ..request(404, Value::Null)
        }],
        "invitations-cancel" => vec![Request {
            by: "creator",
            path: stray("invitations"),
            ..request(403, Value::Null)
        }],
        // A member's member.
        "team-remove" => vec![Request {
            by: "creator",
            path: stray("users"),
            ..request(403, Value::Null)
        }],
        _ => Vec::new(),
    }
}
