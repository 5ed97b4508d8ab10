//! The identity provider's events: a changed name and address, a deleted account.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use uuid::Uuid;

use super::backend::{Backend, CLERK_SECRET, WEBHOOK_SECRET};
use super::call::Call;
use super::people::{Person, id};

pub const WEBHOOK: &str = "/api/webhooks/clerk";

fn delivery<'a>(backend: &'a Backend, body: String, id: &str, secret: &str) -> Call<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = Webhook::new(secret)
        .unwrap()
        .sign(id, i64::try_from(now).unwrap(), body.as_bytes())
        .unwrap();
    backend
        .post(WEBHOOK)
        .body("application/json", body)
        .header("svix-id", id)
        .header("svix-timestamp", &now.to_string())
        .header("svix-signature", &signature)
}

/// A signed event, with a new id.
pub fn signed<'a>(backend: &'a Backend, event: &Value) -> Call<'a> {
    delivery(
        backend,
        event.to_string(),
        &format!("msg_{}", Uuid::now_v7()),
        CLERK_SECRET,
    )
}

fn updated(person: &Person, email: &str, name: &str, at: u64) -> Value {
    json!({"type": "user.updated", "object": "event", "data": {
        "id": person.sub, "first_name": name, "last_name": null, "username": null, "public_metadata": {"x": [1e3]},
        "primary_email_address_id": "idn_2",
        "email_addresses": [
            {"id": "idn_1", "email_address": "old@example.com", "verification": {"status": "verified"}},
            {"id": "idn_2", "email_address": email, "verification": {"status": "verified", "strategy": "email_code"}},
        ],
        "updated_at": at,
    }})
}

fn deleted(person: &Person) -> Value {
    json!({"type": "user.deleted", "object": "event", "data": {"id": person.sub, "object": "user", "deleted": true}})
}

async fn me(backend: &Backend, person: &Person) -> Value {
    backend.get("/api/users/me").by(person).send().await.is(200).json()
}

#[tokio::test]
async fn newest_name_and_address_are_kept() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for (at, name, expected) in [
        (2_000, "Newer", "Newer"),
        (1_000, "Older", "Newer"),
        (3_000, "Newest", "Newest"),
    ] {
        let event = updated(&team.member, "New@Example.com", name, at);
        let answer = signed(&backend, &event).send().await.is(200);
        assert_eq!(answer.json(), json!({"received": true}));
        let user = me(&backend, &team.member).await;
        assert_eq!(
            (&user["name"], &user["email"]),
            (&json!(expected), &json!("new@example.com"))
        );
    }
    // An address that is not verified, and no name, change nothing.
    let mut event = updated(&team.member, "other@example.com", "", 4_000);
    event["data"]["email_addresses"][1]["verification"]["status"] = json!("unverified");
    let before = me(&backend, &team.member).await;
    signed(&backend, &event).send().await.is(200);
    let after = me(&backend, &team.member).await;
    assert_eq!((&after["name"], &after["email"]), (&before["name"], &before["email"]));
    assert_eq!(me(&backend, &team.admin).await["email"], team.admin.email);
}

/// Half a character, values nested too deep for a JSON reader, a number without end, members of other types.
#[tokio::test]
async fn odd_detail_loses_no_event() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let mut event = updated(&ada, "new@example.com", "New", 1_000);
    event["data"]["last_name"] = json!({"family": 5});
    let body = event
        .to_string()
        .replace("New", "N\\ud800w")
        .replace("1000.0", &format!("1e999, {}{}", "[".repeat(500), "]".repeat(500)));
    delivery(&backend, body, "msg_1", CLERK_SECRET).send().await.is(200);
    let user = me(&backend, &ada).await;
    assert_eq!(
        (&user["name"], &user["email"]),
        (&json!("N\u{fffd}w"), &json!("new@example.com"))
    );
    event["data"]["email_addresses"] = json!({});
    event["data"]["first_name"] = json!("Ada");
    event["data"]["updated_at"] = json!("2000");
    signed(&backend, &event).send().await.is(200);
    assert_eq!(me(&backend, &ada).await["name"], "Ada");
}

#[tokio::test]
async fn repeated_event_is_applied_once() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let event = updated(&ada, "new@example.com", "New", 1_000);
    delivery(&backend, event.to_string(), "msg_1", CLERK_SECRET)
        .send()
        .await
        .is(200);
    let stored = backend.stored().await;
    delivery(&backend, event.to_string(), "msg_1", CLERK_SECRET)
        .send()
        .await
        .is(200);
    assert_eq!(backend.stored().await, stored);
}

#[tokio::test]
async fn deleted_account_is_deactivated() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let meeting = backend.meeting(&team, json!({})).await;
    let invite = json!({"email": "invited@example.com"});
    backend
        .post("/api/users/invite")
        .by(&team.admin)
        .json(&invite)
        .send()
        .await
        .is(201);

    for _ in 0..2 {
        signed(&backend, &deleted(&team.member)).send().await.is(200);
        backend
            .get("/api/users/me")
            .by(&team.member)
            .send()
            .await
            .problem(401, "not-registered");
        let users = backend.get("/api/users").by(&team.admin).send().await.is(200).json();
        let users = users.as_array().unwrap();
        let former = users.iter().find(|user| user["id"] == json!(team.member.id)).unwrap();
        assert_eq!(former["name"], "Former member");
        assert!(!former.to_string().contains(&team.member.email), "{former}");
    }
    // The team's history is as it was.
    let path = format!("/api/meetings/{}", id(&meeting));
    let kept = backend.get(&path).by(&team.admin).send().await.is(200).json();
    assert_eq!(kept["teamMemberId"], json!(team.member.id));
    // An event that arrives late changes no user.
    signed(&backend, &updated(&team.member, "late@example.com", "Late", 9_000))
        .send()
        .await
        .is(200);

    let pending = "SELECT count(*) FROM invitations WHERE status = 'pending'";
    assert_eq!(backend.number(pending).await, 1);
    let answer = signed(&backend, &deleted(&team.admin)).send().await.is(200);
    assert_eq!(backend.number(pending).await, 0);
    let log = answer.environment().log();
    assert!(log.iter().any(|line| line.contains("has no admin")), "{log:#?}");
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 2);
    // The subject of a deactivated user is none of a token.
    let claimable = "SELECT count(*) FROM users WHERE left(clerk_id, 1) <> chr(1)";
    assert_eq!(backend.number(claimable).await, 0);
}

/// A token can outlive its account by a minute, and a page registers with it again.
#[tokio::test]
async fn account_is_deleted_each_time() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    for _ in 0..2 {
        let call = signed(&backend, &deleted(&ada));
        call.header("content-type", "text/plain").send().await.is(200);
        backend
            .get("/api/users/me")
            .by(&ada)
            .send()
            .await
            .problem(401, "not-registered");
        backend.post("/api/users/register").by(&ada).send().await.is(201);
    }
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 3);
}

#[tokio::test]
async fn unusable_event_changes_nothing() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let before = backend.stored().await;
    let event = deleted(&ada);
    // Another service's secret is no secret of this one.
    delivery(&backend, event.to_string(), "msg_1", WEBHOOK_SECRET)
        .send()
        .await
        .problem(401, "unauthorized");
    backend
        .post(WEBHOOK)
        .json(&event)
        .send()
        .await
        .problem(401, "unauthorized");
    for (event, field) in [
        (json!({"data": {}}), "type"),
        (json!({"type": "user.deleted", "data": {}}), "data.id"),
        (
            json!({"type": "user.updated", "data": {"id": "x", "updated_at": "soon"}}),
            "data.updated_at",
        ),
    ] {
        let answer = signed(&backend, &event).send().await.problem(422, "invalid");
        assert_eq!(answer.json()["errors"][0]["field"], field);
    }
    for other in [
        json!({"type": "user.created", "data": {"id": ada.sub}}),
        json!({"type": "session.ended"}),
    ] {
        signed(&backend, &other).send().await.is(200);
    }
    signed(&backend, &deleted(&Person::stranger("unknown")))
        .send()
        .await
        .is(200);
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn missing_secret_refuses_all() {
    let backend = Backend::with(|function| function.env.retain(|(name, _)| name != "CLERK_WEBHOOK_SECRET")).await;
    let event = deleted(&Person::stranger("ada"));
    signed(&backend, &event).send().await.problem(500, "misconfigured");
}
