//! The authorisation matrix: each operation of `openapi.json` by each kind of caller, and with each id that leads
//! nowhere. An operation without a row here fails.
//!
//! Every cell starts from the same rows, which are restored after a request that changed them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::backend::{Backend, workspace};
use super::people::{Person, Team, id, meeting};

/// The columns: a person of the scene, and their state.
const CALLERS: [&str; 11] = [
    // Without a token, and with a token without a user.
    "none",
    "unregistered",
    // Leads an empty team, and has an invitation to this one.
    "invited",
    // The meeting's participant, whom the key area and the analysis are about.
    "member",
    // On the team without a part in the meeting.
    "colleague",
    // Of the meeting, and no admin.
    "creator",
    // Leads an empty team since.
    "former member",
    // Is on the other team since.
    "former creator",
    "admin",
    "other admin",
    "other member",
];

/// The callers who may read some of the team's texts.
const INSIDERS: [&str; 3] = ["member", "creator", "admin"];

/// The text that outsiders must not read.
const SECRET: &str = "Secret";

struct Row {
    operation: &'static str,
    body: Option<Value>,
    expected: [u16; CALLERS.len()],
}

#[rustfmt::skip]
fn rows(scene: &Scene) -> Vec<Row> {
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

/// An operation of the description.
struct Operation {
    method: &'static str,
    path: String,
    statuses: BTreeSet<String>,
}

fn operations() -> BTreeMap<String, Operation> {
    let document = std::fs::read_to_string(workspace().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut found = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = ["GET", "POST", "PUT", "PATCH", "DELETE"]
                .into_iter()
                .find(|name| name.eq_ignore_ascii_case(method))
                .unwrap();
            let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect();
            let path = path.clone();
            let operation_id = operation["operationId"].as_str().unwrap().to_owned();
            found.insert(operation_id, Operation { method, path, statuses });
        }
    }
    found
}

/// A team with its rows, and another.
struct Scene {
    team: Team,
    creator: Person,
    invited: Person,
    token: Value,
    other: Team,
    /// The ids of a path, by the collection in front of the id.
    own: BTreeMap<&'static str, Uuid>,
    /// The same of rows beside these, which do not belong to the rest of the path.
    beside: BTreeMap<&'static str, Uuid>,
    /// The same of the other team.
    others: BTreeMap<&'static str, Uuid>,
}

impl Scene {
    async fn prepared(backend: &Backend) -> Self {
        let (team, other) = (backend.team("one").await, backend.team("two").await);
        let creator = backend.member(&team.admin, "creator").await;
        let invited = backend.register(Person::stranger("invited")).await;
        let invitation = backend.invite(&team.admin, &invited.email).await;
        let own = Self::ids(backend, &team, SECRET, id(&invitation)).await;
        let with_creator = Team {
            admin: team.admin.clone(),
            member: creator.clone(),
        };
        let beside = Self::ids(backend, &with_creator, "Beside", Uuid::now_v7()).await;
        let elsewhere = backend.invite(&other.admin, "secret@example.com").await;
        let others = Self::ids(backend, &other, "Elsewhere", id(&elsewhere)).await;
        backend
            .execute(&format!(
                "UPDATE meetings SET created_by = '{}' WHERE id = '{}'",
                creator.id, own["meetings"]
            ))
            .await;
        Self {
            team,
            creator,
            invited,
            token: invitation["token"].clone(),
            other,
            own,
            beside,
            others,
        }
    }

    async fn ids(backend: &Backend, team: &Team, text: &str, invitation: Uuid) -> BTreeMap<&'static str, Uuid> {
        let made = json!({"title": text, "areasForSupport": [text]});
        let made = id(&backend.meeting(team, made).await);
        let task = json!({"status": "suggested", "text": text});
        let task = id(&backend.task(&team.admin, made, task).await);
        BTreeMap::from([
            ("meetings", made),
            ("tasks", task),
            ("users", team.member.id),
            ("key-areas", id(&backend.key_area(team, text).await)),
            ("analyses", backend.analysis(team, text, "2026-03-02T09:30:00Z").await),
            ("invitations", invitation),
        ])
    }

    /// Returns the person of a column, and the SQL for their state.
    fn caller(&self, name: &str) -> (Option<Person>, String) {
        let Self {
            team, creator, other, ..
        } = self;
        let set = |person: &Person, role: &str, admin: String| {
            format!(
                "UPDATE users SET role = '{role}', admin_id = {admin} WHERE id = '{}'",
                person.id
            )
        };
        let unchanged = String::new();
        match name {
            "none" => (None, unchanged),
            "unregistered" => (Some(Person::stranger("nobody")), unchanged),
            "invited" => (Some(self.invited.clone()), unchanged),
            "member" => (Some(team.member.clone()), unchanged),
            "colleague" => {
                let created = format!("UPDATE meetings SET created_by = '{}'", team.admin.id);
                (
                    Some(creator.clone()),
                    format!("{created} WHERE id = '{}'", self.own["meetings"]),
                )
            }
            "creator" => (Some(creator.clone()), unchanged),
            "former member" => (Some(team.member.clone()), set(&team.member, "admin", "NULL".to_owned())),
            "former creator" => {
                let admin = format!("'{}'", other.admin.id);
                (Some(creator.clone()), set(creator, "user", admin))
            }
            "admin" => (Some(team.admin.clone()), unchanged),
            "other admin" => (Some(other.admin.clone()), unchanged),
            "other member" => (Some(other.member.clone()), unchanged),
            _ => panic!("{name} is no caller"),
        }
    }
}

/// Returns the collection of an id in a path, by the segments in front of the id.
fn collection(path: &str) -> &'static str {
    match path.trim_end_matches('/').rsplit('/').next().unwrap() {
        "meetings" => "meetings",
        "tasks" => "tasks",
        "key-areas" => "key-areas",
        "invitations" => "invitations",
        "users" | "team-members" | "team-member" | "analysis-history" | "analysis" | "analyze" => "users",
        // The second id of /analysis/{userId}/{analysisId}.
        "{userId}" => "analyses",
        other => panic!("{path}: {other:?} is no collection"),
    }
}

/// Returns the collections of a path's ids, in order.
fn collections(path: &str) -> Vec<&'static str> {
    path.match_indices('{').map(|(at, _)| collection(&path[..at])).collect()
}

/// Replaces the ids of a path.
fn filled(path: &str, ids: &[Uuid]) -> String {
    let mut ids = ids.iter();
    path.split('/')
        .map(|part| {
            if part.starts_with('{') {
                ids.next().unwrap().to_string()
            } else {
                part.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

async fn send(
    backend: &Backend,
    operation: &Operation,
    path: &str,
    body: Option<&Value>,
    by: Option<&Person>,
) -> Answer {
    let mut call = backend.call(operation.method, path);
    if let Some(person) = by {
        call = call.by(person);
    }
    if let Some(body) = body {
        call = call.json(body);
    }
    let (function, event) = call.event();
    // Without a token the gateway refuses; what the function would say is the same.
    backend.send(&function, event, false).await
}

#[tokio::test]
async fn every_caller_gets_their_answer() {
    let backend = Backend::start().await;
    let scene = Scene::prepared(&backend).await;
    let (operations, rows) = (operations(), rows(&scene));
    let described: BTreeSet<&str> = operations.keys().map(String::as_str).collect();
    let tried: BTreeSet<&str> = rows.iter().map(|row| row.operation).collect();
    assert_eq!(
        (tried, rows.len()),
        (described, operations.len()),
        "every operation needs one row"
    );

    backend.keep().await;
    for (column, name) in CALLERS.into_iter().enumerate() {
        let (caller, change) = scene.caller(name);
        backend.execute(&change).await;
        let mut before = backend.stored().await;
        for row in &rows {
            let operation = &operations[row.operation];
            let ids: Vec<_> = collections(&operation.path).iter().map(|of| scene.own[of]).collect();
            let path = filled(&operation.path, &ids);
            let answer = send(&backend, operation, &path, row.body.as_ref(), caller.as_ref()).await;
            let (status, expected) = (answer.status, row.expected[column]);
            assert_eq!(status, expected, "{} by {name}: {}", row.operation, answer.body);
            assert!(
                operation.statuses.contains(&status.to_string()),
                "{}: {status} is not described",
                row.operation
            );
            assert!(
                INSIDERS.contains(&name) || !answer.body.contains(SECRET),
                "{} tells {name}: {}",
                row.operation,
                answer.body
            );
            let after = backend.stored().await;
            if after != before {
                assert!(expected < 400, "{} by {name} wrote something", row.operation);
                backend.restore().await;
                backend.execute(&change).await;
                before = backend.stored().await;
            }
        }
        backend.restore().await;
    }
}

/// Each id of a path is replaced by an unknown one, by another team's, and by one that does not belong to the rest of
/// the path. The caller has the permission for the right ids.
#[tokio::test]
async fn wrong_ids_are_not_found() {
    let backend = Backend::start().await;
    let scene = Scene::prepared(&backend).await;
    let (operations, rows) = (operations(), rows(&scene));
    let before = backend.stored().await;
    let mut tried = 0;
    for row in &rows {
        let operation = &operations[row.operation];
        let collections = collections(&operation.path);
        let allowed = |name: &str| row.expected[CALLERS.iter().position(|caller| *caller == name).unwrap()] < 300;
        let name = if allowed("admin") { "admin" } else { "invited" };
        let (caller, _) = scene.caller(name);
        for (place, of) in collections.iter().enumerate() {
            let mut wrong = vec![Uuid::now_v7(), scene.others[of]];
            if place + 1 == collections.len() && place > 0 || place == 0 && collections.len() > 1 {
                wrong.push(scene.beside[of]);
            }
            for other in wrong {
                let mut ids: Vec<_> = collections.iter().map(|of| scene.own[of]).collect();
                ids[place] = other;
                let path = filled(&operation.path, &ids);
                let answer = send(&backend, operation, &path, row.body.as_ref(), caller.as_ref()).await;
                assert_eq!(answer.status, 404, "{} {path}: {}", row.operation, answer.body);
                tried += 1;
            }
        }
    }
    assert!(tried >= 72, "only {tried}");
    assert_eq!(backend.stored().await, before);
}
