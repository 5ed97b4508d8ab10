//! The table `audit`: who changed which row, in which request. It has no content, and outlives both receipt and row.

use local::lambda::Outcome;
use local::proxy::{Cut, Effect, Statements};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};

use super::answer::Answer;
use super::backend::{Backend, ROUTES, connect};
use super::people::{id, meeting};
use super::round_trips::Scene;

/// Functions that answer a POST and change nothing.
const NO_CHANGE: [&str; 3] = ["ai-settings-save", "google-disconnect", "google-prepare"];

impl Backend {
    /// Returns the rows of a request, without time and number.
    async fn audit(&self, answer: &Answer) -> Vec<Value> {
        let sql = format!(
            "SELECT (to_jsonb(a) - 'at' - 'id')::text FROM audit a WHERE request_id = '{}'",
            answer.header("x-request-id").unwrap()
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut connect(self.url()).await)
            .await
            .unwrap();
        rows.iter()
            .map(|row| serde_json::from_str(row.get(0)).unwrap())
            .collect()
    }
}

/// A new route is part of it by itself, or `Scene` has no request for it.
#[tokio::test]
async fn every_write_is_audited() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let scene = Scene {
        backend: &backend,
        team: &team,
    };
    for route in ROUTES.iter() {
        let (name, action) = (&route.function, route.key());
        if action.starts_with("GET ") || NO_CHANGE.contains(&name.as_str()) {
            continue;
        }
        let (function, event) = scene.call(name, 1).await.event();
        let actor = event.pointer("/requestContext/authorizer/jwt/claims/sub").cloned();
        let answer = backend.send(&function, event, false).await;
        assert!(answer.status < 300, "{name}: {} {}", answer.status, answer.body);
        let rows = backend.audit(&answer).await;
        let [row] = &rows[..] else { panic!("{name}: {rows:#?}") };
        assert_eq!(row["action"], *action, "{name}");
        assert_eq!(row["actor"], json!(actor), "{name}");
        assert!(row["row_id"].is_string() && row["kind"].is_string(), "{name}: {row}");
        assert_eq!(row["status"], answer.status, "{name}: {row}");
    }
}

#[tokio::test]
async fn audit_outlives_receipt_and_row() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({}));
    let create = || backend.post("/api/meetings").by(&team.admin).key("create").json(&body);
    let created = create().send().await.is(201);
    let made = id(&created.json());
    let path = format!("/api/meetings/{made}");
    let expected = |action: &str, version: Value, status: u16, answer: &Answer| {
        json!([{
            "request_id": answer.header("x-request-id"), "actor": team.admin.sub, "action": action, "kind": "meeting",
            "row_id": made, "version": version, "status": status,
        }])
    };
    let replayed = create().send().await.is(201);
    let refused = backend.delete(&path).by(&team.member).send().await.is(403);
    let deleted = backend.delete(&path).by(&team.admin).send().await.is(204);
    backend.execute("UPDATE receipts SET expires_at = now()").await;
    backend.invoke("health", json!({"source": "aws.scheduler"})).await;
    assert_eq!(backend.number("SELECT count(*) FROM receipts").await, 0);

    let rows = json!(backend.audit(&created).await);
    assert_eq!(rows, expected("POST /api/meetings", json!(1), 201, &created));
    let rows = json!(backend.audit(&deleted).await);
    assert_eq!(rows[0]["row_id"], json!(made));
    assert_eq!(rows[0]["actor"], team.admin.sub);
    assert_eq!(rows[0]["action"], "DELETE /api/meetings/{id}");
    for answer in [replayed, refused] {
        assert_eq!(backend.audit(&answer).await, Vec::<Value>::new());
    }
}

/// Both forms of a write: one statement, and several in a transaction.
#[tokio::test]
async fn lost_reply_is_audited_once() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({}));
    for (number, cut) in [Cut::BeforeServer, Cut::BeforeAcknowledgement].into_iter().enumerate() {
        let writes = Statements::Containing("INSERT INTO audit");
        proxy.order(writes, [Effect::Cut(cut)]);
        let create = backend.post("/api/meetings").by(&team.admin).json(&body);
        let answer = create.send().await.is(201);
        assert_eq!(backend.audit(&answer).await.len(), 1, "{cut:?}");
        let host = backend.admin(&format!("host-{number}")).await;
        proxy.order(writes, [Effect::Cut(cut)]);
        let invite = backend.post("/api/users/invite").by(&host);
        let answer = invite.json(&json!({"email": "guest@example.com"})).send().await.is(201);
        assert_eq!(backend.audit(&answer).await.len(), 1, "{cut:?}");
    }
}

/// A row of `audit` is kept a year, an invited address a month after its invitation expired.
#[tokio::test]
async fn schedule_deletes_old_rows() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for address in ["old@example.com", "new@example.com"] {
        backend.invite(&team.admin, address).await;
    }
    backend
        .execute(
            "UPDATE invitations SET expires_at = now() - interval '31 days' WHERE email = 'old@example.com';
             UPDATE invitations SET expires_at = now() - interval '29 days' WHERE email = 'new@example.com';
             UPDATE audit SET at = now() - interval '366 days' WHERE action = 'POST /api/users/register';
             UPDATE audit SET at = now() - interval '364 days' WHERE action = 'POST /api/users/invite'",
        )
        .await;
    let invocation = backend.invoke("health", json!({"source": "aws.scheduler"})).await;
    assert!(matches!(invocation.outcome, Outcome::Success(_)));
    let invited = "SELECT count(*) FILTER (WHERE email = 'new@example.com') * 10 + count(*) FROM invitations \
                   WHERE status = 'pending'";
    assert_eq!(backend.number(invited).await, 11);
    let registered = "SELECT count(*) FROM audit WHERE action = 'POST /api/users/register'";
    assert_eq!(backend.number(registered).await, 0);
    let invites = "SELECT count(*) FROM audit WHERE action = 'POST /api/users/invite'";
    assert!(backend.number(invites).await >= 2);
}
