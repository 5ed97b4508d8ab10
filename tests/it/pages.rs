//! The calls of the app's pages, as they make them: over HTTP, through the gateway, to each route's own binary.
//!
//! A row of [`calls`] has what a page sends, and the members of the answer that it reads. The others may change; these
//! may not. The pages send through two libraries: one parses every answer as JSON and fails on an empty one, the other
//! does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use local::gateway::{Authorizer, DevelopmentKey, Gateway, Origins, Settings};
use local::lambda::{Lambda, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::backend::{Backend, HANG_TIMEOUT, ROUTES, functions};
use super::people::{Person, Team, id, with};

/// Where the pages are served from.
const ORIGIN: &str = "http://localhost:5173";

/// The library with which a page sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// `fetch`: declares JSON even without a body, and parses every answer as JSON.
    Fetch,
    /// `axios`: accepts an answer without content.
    Axios,
    /// The same, without a token.
    Anonymous,
}
use Sender::{Anonymous, Axios, Fetch};

/// The value that a page reads from a member of the answer.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Number,
    Flag,
    Time,
    /// A list of texts.
    Texts,
    /// Null, or the same as without.
    MaybeText,
    MaybeTime,
}
use Kind::{Flag, MaybeText, MaybeTime, Number, Text, Texts, Time};

/// The part of the answer that a page reads.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Nothing,
    Object(&'static [(&'static str, Kind)]),
    /// A bare array, which is not empty.
    List(&'static [(&'static str, Kind)]),
    /// A refusal that the page shows.
    Error,
}
use Reads::{Error, List, Nothing, Object};

struct Call {
    /// What the page does.
    name: &'static str,
    sender: Sender,
    by: Person,
    method: &'static str,
    path: String,
    body: Option<Value>,
    status: u16,
    reads: Reads,
}

/// The rows that the calls are about.
struct Scene {
    team: Team,
    newcomer: Person,
    /// Registered, with the token of an invitation to another team.
    invited: Person,
    token: Value,
    /// To be cancelled.
    invitation: Uuid,
    /// To be removed from the team.
    leaver: Person,
    /// Of the member: completed, with tasks and a change.
    meeting: Uuid,
    suggested: Uuid,
    open: Uuid,
    /// To be deleted.
    spare_meeting: Uuid,
    spare_task: Uuid,
    area: Uuid,
    analysis: Uuid,
}

impl Scene {
    async fn prepared(backend: &Backend) -> Self {
        let team = backend.team("one").await;
        let lists = json!({"wins": ["Release"], "areasForSupport": ["Writing skills"]});
        let meeting = id(&backend.meeting(&team, lists).await);
        let path = format!("/api/meetings/{meeting}");
        for body in [json!({"title": "Renamed"}), json!({"status": "completed"})] {
            backend.put(&path).by(&team.admin).json(&body).send().await.is(200);
        }
        let task = async |status: &str| {
            let body = json!({"status": status, "suggestedAssignee": "team_member"});
            id(&backend.task(&team.admin, meeting, body).await)
        };
        let (suggested, open, spare_task) = (
            task("suggested").await,
            task("incomplete").await,
            task("incomplete").await,
        );
        let leaver = backend.member(&team.admin, "leaver").await;
        let invitation = id(&backend.invite(&team.admin, "later@example.com").await);
        let invited = backend.register(Person::stranger("invited")).await;
        let other = backend.admin("other-admin").await;
        let token = backend.invite(&other, &invited.email).await["token"].clone();
        Self {
            newcomer: Person::stranger("newcomer"),
            invited,
            token,
            invitation,
            leaver,
            meeting,
            suggested,
            open,
            spare_meeting: id(&backend.meeting(&team, json!({})).await),
            spare_task,
            area: id(&backend.key_area(&team, "Writing").await),
            analysis: backend.analysis(&team, "Release", "2026-03-02T09:30:00Z").await,
            team,
        }
    }
}

const USER: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("email", Text),
    ("role", Text),
    ("createdAt", Time),
    ("updatedAt", Time),
];

#[rustfmt::skip]
fn calls(scene: &Scene) -> Vec<Call> {
    let Scene { team, newcomer, invited, token, invitation, leaver, area, analysis, .. } = scene;
    let Scene { meeting: made, suggested, open, spare_meeting, spare_task, .. } = scene;
    let (admin, member) = (&team.admin, &team.member);
    let mut calls = Vec::new();
    let mut call = |name, sender, by: &Person, method, path: String, body: Option<Value>, status, reads| {
        calls.push(Call { name, sender, by: by.clone(), method, path, body, status, reads });
    };
    let users = |rest: &str| format!("/api/users{rest}");
    let areas = format!("/api/users/{}/key-areas", member.id);
    let meetings = |rest: &str| format!("/api/meetings{rest}");
    let one = meetings(&format!("/{made}"));
    let task = |task: &Uuid, rest: &str| format!("{one}/tasks/{task}{rest}");
    let texts = || Some(json!({"name": "Writing", "description": "One page a week"}));
    let empty = || Some(json!({}));

    // At the sign-up the page registers several times in a row.
    for status in [201, 200] {
        let body = json!({"email": newcomer.email, "name": null});
        let path = users("/register");
        call("registering", Fetch, newcomer, "POST", path, Some(body), status, Object(&[("role", Text)]));
    }
    let accepted = json!({"token": token, "clerkId": invited.sub});
    call("an invitation's link", Fetch, invited, "POST", users("/invite/accept"), Some(accepted), 200, Nothing);
    for by in [admin, member] {
        call("with whom to meet", Axios, by, "GET", users("/team"), None, 200, List(&[
            ("id", Text), ("name", Text), ("email", Text),
        ]));
    }
    call("the members", Fetch, admin, "GET", users("/team-members"), None, 200, List(USER));
    call("one member", Fetch, admin, "GET", users(&format!("/{}", member.id)), None, 200, Object(USER));
    call("how many can be invited", Fetch, admin, "GET", users("/can-invite"), None, 200, Object(&[
        ("canInvite", Flag), ("currentCount", Number), ("remainingInvites", Number), ("pendingInvitations", Number),
    ]));
    call("the invitations", Fetch, admin, "GET", users("/invitations"), None, 200, List(&[
        ("id", Text), ("email", Text), ("status", Text), ("createdAt", Time), ("expires", Time),
    ]));
    let path = users(&format!("/invitations/{invitation}"));
    call("a cancelled invitation", Fetch, admin, "DELETE", path, None, 200, Nothing);
    let path = users(&format!("/team-members/{}", leaver.id));
    call("a removed member", Fetch, admin, "DELETE", path, None, 200, Nothing);
    let body = Some(json!({"email": "new@example.com"}));
    call("an invitation", Fetch, admin, "POST", users("/invite"), body, 201, Object(&[("inviteStatus/canInvite", Flag)]));
    call("the caller", Axios, member, "GET", users("/me"), None, 200, Object(&[("id", Text), ("role", Text)]));
    call("a member's colleagues", Fetch, member, "GET", users(""), None, 200, List(USER));
    call("a member's key areas", Fetch, member, "GET", areas.clone(), None, 200, List(&[
        ("id", Text), ("name", Text), ("description", Text), ("createdAt", Time), ("createdBy/name", Text),
    ]));
    call("a new key area", Fetch, admin, "POST", areas.clone(), texts(), 201, Nothing);
    call("a changed key area", Fetch, admin, "PUT", format!("{areas}/{area}"), texts(), 200, Nothing);
    call("a deleted key area", Fetch, admin, "DELETE", format!("{areas}/{area}"), None, 200, Nothing);

    let new = json!({"title": "Weekly", "teamMemberId": member.id, "date": "2031-03-04T09:30:00.000Z", "duration": 30});
    call("a new meeting", Axios, admin, "POST", meetings(""), Some(new.clone()), 201, Nothing);
    let bad = with(new, json!({"duration": 0}));
    call("a meeting that is refused", Axios, admin, "POST", meetings(""), Some(bad), 422, Error);
    call("a deleted meeting", Axios, admin, "DELETE", meetings(&format!("/{spare_meeting}")), None, 204, Nothing);

    for (name, sender) in [("the meetings", Axios), ("the overview's meetings", Fetch)] {
        call(name, sender, member, "GET", meetings("/with-team-members"), None, 200, List(&[
            ("id", Text), ("title", Text), ("teamMember/name", Text), ("teamMemberId", Text), ("date", Time),
            ("duration", Number), ("status", Text), ("processingStatus", Text),
        ]));
    }
    call("a meeting", Axios, member, "GET", one.clone(), None, 200, Object(&[
        ("teamMemberId", Text), ("title", Text), ("date", Time), ("duration", Number), ("status", Text),
        ("processingStatus", Text), ("googleMeetLink", MaybeText), ("executiveSummary", MaybeText), ("wins", Texts),
        ("areasForSupport", Texts), ("transcript", MaybeText), ("recordingUrl", MaybeText), ("tasksData/0/id", Text),
        ("tasksData/0/text", Text), ("tasksData/0/status", Text), ("tasksData/0/createdAt", Time),
        ("tasksData/0/completedAt", MaybeTime), ("tasksData/0/assignedTo", MaybeText),
        ("tasksData/0/reasoning", MaybeText), ("tasksData/0/relatedAreaForSupport", MaybeText),
        ("tasksData/0/suggestedAssignee", MaybeText),
    ]));
    call("suggestions for a meeting", Axios, member, "POST", format!("{one}/suggest-tasks"), empty(), 200, Nothing);
    call("a meeting's agenda", Fetch, member, "GET", format!("{one}/agenda"), None, 200, Object(&[
        ("phases/0/name", Text), ("phases/0/items", Texts),
    ]));
    call("what was changed", Axios, member, "GET", format!("{one}/changes"), None, 200, List(&[
        ("id", Text), ("changeType", Text), ("createdAt", Time), ("previousTitle", MaybeText), ("newTitle", MaybeText),
        ("previousDate", MaybeTime), ("newDate", MaybeTime),
    ]));
    call("the team's tasks", Fetch, admin, "GET", meetings("/tasks/all"), None, 200, List(&[
        ("text", Text), ("status", Text), ("createdAt", Time), ("completedAt", MaybeTime),
    ]));
    call("a task that is done", Axios, member, "PATCH", task(open, ""), Some(json!({"status": "complete"})), 200, Nothing);
    call("a task's assignee", Axios, admin, "PATCH", task(open, ""), Some(json!({"assignedTo": member.id})), 200, Nothing);
    call("no assignee", Axios, admin, "PATCH", task(open, ""), Some(json!({"assignedTo": ""})), 200, Nothing);
    call("a task's text", Axios, admin, "PATCH", task(open, ""), Some(json!({"text": "Better"})), 200, Nothing);
    call("an approved task", Axios, member, "PATCH", task(suggested, "/approve"), empty(), 200, Nothing);
    call("a deleted task", Axios, admin, "DELETE", task(spare_task, ""), None, 204, Nothing);

    let about = |what: &str, rest: &str| format!("/api/meetings/{what}/{}{rest}", member.id);
    for (name, by, forced) in [("a member's summary", admin, "false"), ("a member's own summary", member, "true")] {
        let path = about("analyze", &format!("?forceRefresh={forced}"));
        call(name, Fetch, by, "GET", path, None, 200, Object(&[
            ("wins", Texts), ("areasForSupport", Texts), ("tasks", Texts), ("cached", Flag), ("lastAnalyzedAt", Time),
        ]));
    }
    call("a member's meetings", Fetch, admin, "GET", about("team-member", ""), None, 200, List(&[
        ("id", Text), ("title", Text), ("date", Time), ("duration", Number), ("status", Text),
        ("processingStatus", Text), ("executiveSummary", MaybeText), ("wins", Texts), ("areasForSupport", Texts),
    ]));
    call("a member's analyses", Fetch, admin, "GET", about("analysis-history", ""), None, 200, List(&[
        ("id", Text), ("analyzedAt", Time),
    ]));
    call("an older analysis", Fetch, admin, "GET", about("analysis", &format!("/{analysis}")), None, 200, Object(&[
        ("wins", Texts), ("areasForSupport", Texts), ("tasks", Texts), ("analyzedAt", Time),
    ]));

    let google = |rest: &str| format!("/api/auth/google/{rest}");
    call("whether Google is connected", Axios, member, "GET", google("status"), None, 200, Object(&[
        ("fullyConnected", Flag), ("connected", Flag), ("hasCalendarIntegration", Flag),
    ]));
    call("connecting Google", Anonymous, member, "POST", google("prepare"), Some(json!({"token": "x"})), 501, Error);
    call("disconnecting Google", Axios, member, "POST", google("disconnect"), empty(), 200, Object(&[
        ("calendarIntegrationsRemoved", Number),
    ]));
    let ai = users("/ai-settings");
    call("the AI provider", Axios, member, "GET", ai.clone(), None, 200, Object(&[
        ("useCustomAI", Flag), ("aiProvider", Text), ("hasValidApiKey", Flag),
    ]));
    let reset = json!({"useCustomAI": false, "aiProvider": "anthropic", "apiKey": ""});
    call("no AI provider", Axios, member, "POST", ai.clone(), Some(reset), 501, Error);
    let own = json!({"useCustomAI": true, "aiProvider": "openai", "apiKey": "sk-x"});
    call("an AI provider's key", Axios, member, "POST", ai, Some(own), 501, Error);
    calls
}

/// The gateway with every function behind it, and the key that signs its tokens.
struct Served {
    gateway: Gateway,
    key: DevelopmentKey,
    _folder: tempfile::TempDir,
}

/// The functions that a page calls without a token.
const PUBLIC: [&str; 1] = ["google-prepare"];

impl Served {
    async fn start(backend: &Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let settings = Settings {
            routes: ROUTES.clone(),
            public: BTreeSet::from(PUBLIC.map(str::to_owned)),
            authorizer: Some(Authorizer::Development(DevelopmentKey::load_or_create(&path).unwrap())),
            origins: Origins::new(&[ORIGIN.to_owned()]).unwrap(),
            lambda: Arc::new(Lambda::start(functions(backend.url()), Options::default()).unwrap()),
            pages: Default::default(),
            answered: None,
        };
        Self {
            gateway: Gateway::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings)
                .await
                .unwrap(),
            key: DevelopmentKey::load_or_create(&path).unwrap(),
            _folder: folder,
        }
    }

    /// Sends a call as its library does, after the browser's preflight request.
    async fn send(&self, call: &Call) -> Answered {
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut headers = Vec::new();
        if call.sender != Anonymous {
            let name = call.by.sub.trim_start_matches("user_");
            let lifetime = Duration::from_secs(3600);
            let token = self.key.sign(&call.by.sub, &call.by.email, name, lifetime).unwrap();
            headers.push(("authorization", format!("Bearer {token}")));
        }
        if call.sender == Fetch || !body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let preflight = [
            ("access-control-request-method", call.method.to_owned()),
            ("access-control-request-headers", names.join(",")),
        ];
        let allowed = self.exchange("OPTIONS", &call.path, &preflight, "").await;
        let mut answer = self.exchange(call.method, &call.path, &headers, &body).await;
        let listed = |name: &str, item: &str| {
            let list = allowed.headers.get(name).map(String::as_str).unwrap_or_default();
            list.split(',').any(|one| one.trim().eq_ignore_ascii_case(item))
        };
        answer.permitted = listed("access-control-allow-methods", call.method)
            && names.iter().all(|name| listed("access-control-allow-headers", name))
            && [&allowed, &answer].into_iter().all(Answered::permits_the_origin);
        answer
    }

    async fn exchange(&self, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Answered {
        let address = self.gateway.address();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\norigin: {ORIGIN}\r\n");
        request += &format!("connection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("\r\n{body}");
        let answered = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(HANG_TIMEOUT, answered).await.expect("it hangs");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answered {
            status: status.parse().unwrap(),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
            permitted: false,
        }
    }
}

struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    /// Whether a browser sends the call, and shows the answer to the page.
    permitted: bool,
}

impl Answered {
    /// With credentials, which some calls of the settings send.
    fn permits_the_origin(&self) -> bool {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        header("access-control-allow-origin") == Some(ORIGIN)
            && header("access-control-allow-credentials") == Some("true")
    }
}

/// Returns the members that a page misses in an object.
fn missing(object: &Value, members: &[(&str, Kind)]) -> Vec<String> {
    let wrong = |(name, kind): &(&str, Kind)| {
        let value = object.pointer(&format!("/{name}")).unwrap_or(&Value::Null);
        let (text, present) = (value.as_str(), object.pointer(&format!("/{name}")).is_some());
        let is_time = text.is_some_and(|text| text.parse::<chrono::DateTime<chrono::Utc>>().is_ok());
        let good = match kind {
            Text => text.is_some(),
            Number => value.is_number(),
            Flag => value.is_boolean(),
            Time => is_time,
            Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            MaybeText => text.is_some() || value.is_null() && present,
            MaybeTime => is_time || value.is_null() && present,
        };
        (!good).then(|| format!("{name} is {value} and not {kind:?}"))
    };
    members.iter().filter_map(wrong).collect()
}

#[tokio::test]
async fn pages_get_what_they_read() {
    let backend = Backend::start().await;
    let scene = Scene::prepared(&backend).await;
    let served = Served::start(&backend).await;
    let mut wrong = Vec::new();
    for call in calls(&scene) {
        let Answered {
            status,
            body,
            permitted,
            ..
        } = served.send(&call).await;
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let mut faults = match call.reads {
            Nothing => Vec::new(),
            Object(members) => missing(&answer, members),
            List(members) => {
                let items = answer.as_array().map(Vec::as_slice).unwrap_or_default();
                let empty = items.is_empty().then(|| "it is no list, or an empty one".to_owned());
                let faults = items.iter().flat_map(|item| missing(item, members));
                empty.into_iter().chain(faults).collect()
            }
            Error => missing(&answer, &[("error", Text)]),
        };
        if status != call.status {
            faults.push(format!("its status is {status} and not {}", call.status));
        }
        if !permitted {
            faults.push("a browser does not permit it".to_owned());
        }
        if call.sender == Fetch && answer.is_null() {
            faults.push("it is no JSON".to_owned());
        }
        if !faults.is_empty() {
            wrong.push(format!(
                "{}, {} {}: {faults:?} in {body}",
                call.name, call.method, call.path
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
