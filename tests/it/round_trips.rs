//! The round trips of every route, counted on the wire: exact numbers, and no time.
//!
//! A round trip is a ReadyForQuery of the server. `docs/PERFORMANCE.md` has the table, which is compared with these
//! counts.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use local::proxy::{Cut, Effect, Proxy, Statements};
use serde_json::json;

use super::answer::Answer;
use super::backend::Backend;
use super::call::Call;
use super::clerk;
use super::people::{Person, Team, id, meeting};
use super::webhook::{ALIAS, Delivery, WEBHOOK};

/// The round trips of INIT: the log-in, the status, and preparing and running the statement of the example event.
const INIT: u64 = 4;

/// The functions whose write locks rows first, and decides in a second statement.
const TWO_STATEMENTS: [&str; 3] = ["invitations-accept", "invitations-create", "invitations-join"];

/// Counts the round trips of requests, without those of a sweep of expired receipts, which follows one write in fifty.
struct Counter<'a>(&'a Proxy);

impl<'a> Counter<'a> {
    fn new(proxy: &'a Proxy) -> Self {
        let sweeps = Statements::Containing("sweep_receipts");
        proxy.order(sweeps, vec![Effect::Nothing; 1_000]);
        Self(proxy)
    }

    async fn count(&self, call: Call<'_>) -> (u64, Answer) {
        let before = self.0.counts();
        let answer = call.send().await;
        let after = self.0.counts();
        // The log line's own count is that of the wire.
        let line = answer.line();
        if !answer.invocation.cold_start && line["connects"] == 0 && line["witnesses"] == 0 {
            assert_eq!(line["round_trips"], after.ready - before.ready, "{line}");
        }
        ((after.ready - before.ready) - (after.cut - before.cut), answer)
    }
}

/// Makes a request for each cell of the table, with the rows that it needs.
pub struct Scene<'a> {
    pub backend: &'a Backend,
    pub team: &'a Team,
}

impl Scene<'_> {
    /// A request that succeeds, for the function of this name.
    pub async fn call(&self, function: &str, number: usize) -> Call<'_> {
        let Self { backend, team } = self;
        let body = json!({"meetingBaasId": format!("{function}-{number}"), "areasForSupport": ["x"]});
        let made = id(&backend.meeting(team, body).await);
        let path = format!("/api/meetings/{made}");
        let task = async |status: &str| {
            let task = backend.task(&team.admin, made, json!({"status": status})).await;
            format!("{path}/tasks/{}", id(&task))
        };
        let admin = &team.admin;
        let member = team.member.id;
        let areas = format!("/api/users/{member}/key-areas");
        let texts = json!({"name": "New", "description": "New"});
        let area = async || format!("{areas}/{}", id(&backend.key_area(team, "Old").await));
        match function {
            "users-me" => backend.get("/api/users/me").by(admin),
            "users-list" => backend.get("/api/users").by(admin),
            "key-areas-list" => backend.get(&areas).by(admin),
            "key-areas-create" => backend.post(&areas).by(admin).json(&texts),
            "key-areas-update" => backend.put(&area().await).by(admin).json(&texts),
            "key-areas-delete" => backend.delete(&area().await).by(admin),
            "analyses-list" => backend
                .get(&format!("/api/meetings/analysis-history/{member}"))
                .by(admin),
            "analyses-get" => {
                let analysis = backend.analysis(team, "Win", "2026-03-02T09:30:00Z").await;
                backend
                    .get(&format!("/api/meetings/analysis/{member}/{analysis}"))
                    .by(admin)
            }
            "analyses-current" => backend.get(&format!("/api/meetings/analyze/{member}")).by(admin),
            "ai-settings-get" => backend.get("/api/users/ai-settings").by(admin),
            "google-status" => backend.get("/api/auth/google/status").by(admin),
            "google-disconnect" => backend.post("/api/auth/google/disconnect").by(admin),
            "meetings-list" => backend.get("/api/meetings").by(admin),
            "meetings-with-team-members" => backend.get("/api/meetings/with-team-members").by(admin),
            "meetings-by-member" => {
                let list = format!("/api/meetings/team-member/{}", team.member.id);
                backend.get(&list).by(admin)
            }
            "meetings-agenda" => backend.get(&format!("{path}/agenda")).by(admin),
            "meetings-get" => backend.get(&path).by(admin),
            "meetings-changes" => backend.get(&format!("{path}/changes")).by(admin),
            "tasks-list" => backend.get(&format!("{path}/tasks")).by(admin),
            "tasks-all" => backend.get("/api/meetings/tasks/all").by(admin),
            "users-get" => backend.get(&format!("/api/users/{}", team.member.id)).by(admin),
            "team-get" => backend.get("/api/users/team").by(admin),
            "team-members" => backend.get("/api/users/team-members").by(admin),
            "team-remove" | "users-leave" => {
                let member = backend.member(admin, &format!("{function}-{number}")).await;
                if function == "users-leave" {
                    return backend.post("/api/users/me/leave").by(&member);
                }
                let path = format!("/api/users/team-members/{}", member.id);
                backend.delete(&path).by(admin)
            }
            "invitations-status" => backend.get("/api/users/can-invite").by(admin),
            "invitations-list" => backend.get("/api/users/invitations").by(admin),
            "invitations-received" => backend.get("/api/users/me/invitations").by(admin),
            "invitations-cancel" => {
                let invited = backend.invite(admin, &format!("{function}-{number}@example.com")).await;
                backend
                    .delete(&format!("/api/users/invitations/{}", id(&invited)))
                    .by(admin)
            }
            "invitations-accept" | "invitations-join" | "invitations-decline" => {
                let host = backend.admin(&format!("{function}-{number}-host")).await;
                let guest = Person::stranger(&format!("{function}-{number}"));
                let guest = backend.register(guest).await;
                let invited = backend.invite(&host, &guest.email).await;
                let path = format!("/api/users/me/invitations/{}", id(&invited));
                match function {
                    "invitations-decline" => backend.delete(&path).by(&guest),
                    "invitations-join" => backend.post(&format!("{path}/accept")).by(&guest),
                    _ => {
                        let body = json!({"token": invited["token"]});
                        backend.post("/api/users/invite/accept").by(&guest).json(&body)
                    }
                }
            }
            "users-register" => {
                let person = Person::stranger(&format!("newcomer-{number}"));
                backend.post("/api/users/register").by(&person).json(&json!({}))
            }
            "invitations-create" => {
                let host = backend.admin(&format!("{function}-{number}-host")).await;
                let body = json!({"email": format!("{number}@example.com")});
                backend.post("/api/users/invite").by(&host).json(&body)
            }
            "meetings-create" => {
                let body = meeting(team.member.id, json!({}));
                backend.post("/api/meetings").by(admin).json(&body)
            }
            "meetings-update" => backend.put(&path).by(admin).json(&json!({"title": "New"})),
            "meetings-delete" => backend.delete(&path).by(admin),
            "meetings-webhook" | "meetings-webhook-alias" => {
                let data = json!({"bot_id": format!("{function}-{number}"), "mp4": "https://example.com/a.mp4"});
                let path = if function == "meetings-webhook" { WEBHOOK } else { ALIAS };
                Delivery::of(&json!({"event": "complete", "data": data})).call_at(backend, path)
            }
            "clerk-webhook" => {
                let data = json!({"id": team.member.sub, "updated_at": 1_767_258_000_000_u64 + number as u64});
                clerk::signed(backend, &json!({"type": "user.updated", "data": data}))
            }
            "tasks-suggest" => backend.post(&format!("{path}/suggest-tasks")).by(admin),
            "tasks-create" => backend
                .post(&format!("{path}/tasks"))
                .by(admin)
                .json(&json!({"text": "New"})),
            "tasks-update" => {
                let call = backend.patch(&task("incomplete").await).by(admin);
                call.json(&json!({"status": "complete"}))
            }
            "tasks-approve" => backend.patch(&format!("{}/approve", task("suggested").await)).by(admin),
            "tasks-delete" => backend.delete(&task("incomplete").await).by(admin),
            other => panic!("the ledger has no request for {other}"),
        }
    }
}

/// Functions that ask the database nothing for a client.
const NO_QUERY: [&str; 4] = ["ai-settings-save", "google-prepare", "health", "migrations-run"];

/// Returns every function that queries the database for a client.
fn functions() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !NO_QUERY.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_route_takes_one_round_trip() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let scene = Scene {
        backend: &backend,
        team: &team,
    };
    let counter = Counter::new(&proxy);
    let names = functions();
    let mut rows = Vec::new();
    for name in &names {
        let (first, answer) = counter.count(scene.call(name, 1).await.cold()).await;
        assert!(answer.status < 300, "{name}: {} {}", answer.status, answer.body);
        assert!(answer.invocation.cold_start, "{name}");
        let (fresh, answer) = counter.count(scene.call(name, 2).await).await;
        assert!(answer.status < 300, "{name}: {} {}", answer.status, answer.body);
        // INIT prepares and runs every statement.
        let second = if TWO_STATEMENTS.contains(&name.as_str()) { 2 } else { 0 };
        rows.push([first - INIT - second, fresh]);
    }
    // Longer than a used connection is reused without a ping.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut ledger = String::new();
    for (name, [first, fresh]) in names.iter().zip(rows) {
        let (idle, _) = counter.count(scene.call(name, 3).await).await;
        writeln!(ledger, "| `{name}` | {fresh} | {idle} | {first} |").unwrap();
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PERFORMANCE.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains(&ledger),
        "docs/PERFORMANCE.md should have these rows:\n{ledger}"
    );
}

#[tokio::test]
async fn round_trip_exceptions_are_exact() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    let path = format!("/api/meetings/{made}");
    let counter = Counter::new(&proxy);
    let update = |key: &str| {
        backend
            .put(&path)
            .by(&team.admin)
            .key(key)
            .json(&json!({"title": "New"}))
    };
    let mut ledger = String::new();
    let mut row = |name: &str, trips: u64| writeln!(ledger, "| {name} | {trips} |").unwrap();

    update("first").send().await.is(200);
    let refused = update("second").header("if-match", "\"1\"");
    let (trips, answer) = counter.count(refused).await;
    answer.problem(412, "precondition-failed");
    row("a refusal under a client's key", trips);

    // The read of a replay is prepared at its first use.
    update("first").send().await.is(200);
    let (trips, answer) = counter.count(update("first")).await;
    assert_eq!(answer.is(200).header("idempotency-replayed"), Some("true"));
    row("a replay that reads the resource", trips);

    let delete = || backend.delete(&path).by(&team.admin).key("delete");
    for _ in 0..2 {
        delete().send().await.is(204);
    }
    let (trips, answer) = counter.count(delete()).await;
    assert_eq!(answer.is(204).header("idempotency-replayed"), Some("true"));
    row("a replay of a deletion", trips);

    let other = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    let update = |title: &str| backend.put(&other).by(&team.admin).json(&json!({"title": title}));
    let writes = Statements::Containing("known AS (");
    for (name, cut) in [
        ("a write that was lost on its way", Cut::BeforeServer),
        ("a write whose reply was lost", Cut::BeforeAcknowledgement),
    ] {
        update("Before").send().await.is(200);
        let before = proxy.counts().ready;
        proxy.order(writes, [Effect::Cut(cut)]);
        let answer = update("Lost").send().await.is(200);
        assert_eq!(answer.header("idempotency-replayed"), None, "{name}");
        row(name, proxy.counts().ready - before);
    }
    assert_eq!(backend.number("SELECT max(version)::int8 FROM meetings").await, 5);

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PERFORMANCE.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains(&ledger),
        "docs/PERFORMANCE.md should have these rows:\n{ledger}"
    );
}
