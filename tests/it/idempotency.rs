//! Idempotency keys: a client that repeats itself gets the same answer, and one row.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::backend::Backend;
use super::people::{Person, id, meeting};

#[tokio::test]
async fn every_post_replays_its_answer() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    let newcomer = Person::stranger("newcomer");
    for (path, by, body, table) in [
        ("/api/users/register".to_owned(), &newcomer, json!({}), "users"),
        (
            "/api/users/invite".to_owned(),
            &team.admin,
            json!({"email": "x@example.com"}),
            "invitations",
        ),
        (
            "/api/meetings".to_owned(),
            &team.admin,
            meeting(team.member.id, json!({})),
            "meetings",
        ),
        (
            format!("/api/meetings/{made}/tasks"),
            &team.admin,
            json!({"text": "Once"}),
            "tasks",
        ),
    ] {
        let before = backend.stored().await[table].0;
        let send = async || {
            backend
                .post(&path)
                .by(by)
                .key(&format!("key-{table}"))
                .json(&body)
                .send()
                .await
                .is(201)
        };
        let first = send().await;
        assert_eq!(first.header("idempotency-replayed"), None, "{path}");
        let stored = backend.stored().await;
        assert_eq!(stored[table].0, before + 1, "{path}");
        for _ in 0..2 {
            let again = send().await;
            assert_eq!(again.header("idempotency-replayed"), Some("true"), "{path}");
            assert_eq!(
                (&again.body, again.header("location")),
                (&first.body, first.header("location")),
                "{path}"
            );
            assert_eq!(again.header("content-type"), first.header("content-type"), "{path}");
        }
        assert_eq!(backend.stored().await, stored, "{path}");
    }
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let send = async |path: &str, body: Value| backend.post(path).by(&team.admin).key("key-1").json(&body).send().await;
    let made = send("/api/meetings", meeting(team.member.id, json!({})))
        .await
        .is(201)
        .json();
    let before = backend.stored().await;
    let other = meeting(team.member.id, json!({"title": "Another"}));
    send("/api/meetings", other)
        .await
        .problem(422, "idempotency-key-reused");
    send("/api/users/invite", json!({"email": "x@example.com"}))
        .await
        .problem(422, "idempotency-key-reused");
    let tasks = format!("/api/meetings/{}/tasks", id(&made));
    send(&tasks, json!({"text": "x"}))
        .await
        .problem(422, "idempotency-key-reused");
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn without_a_key_two_creates_are_two() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({}));
    for _ in 0..2 {
        let answer = backend
            .post("/api/meetings")
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .is(201);
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
    assert_eq!(backend.number("SELECT count(*) FROM meetings").await, 2);
}

#[tokio::test]
async fn keys_are_per_caller() {
    let backend = Backend::start().await;
    let (one, two) = (backend.team("one").await, backend.team("two").await);
    let mut made = Vec::new();
    for team in [&one, &two] {
        let body = meeting(team.member.id, json!({}));
        let answer = backend
            .post("/api/meetings")
            .by(&team.admin)
            .key("same")
            .json(&body)
            .send()
            .await
            .is(201);
        assert_eq!(answer.header("idempotency-replayed"), None);
        made.push(id(&answer.json()));
    }
    assert_ne!(made[0], made[1]);
    // Somebody else's key and body give nothing of theirs away.
    let body = meeting(one.member.id, json!({}));
    let answer = backend
        .post("/api/meetings")
        .by(&one.member)
        .key("same")
        .json(&body)
        .send()
        .await;
    answer.problem(403, "forbidden");
}

#[tokio::test]
async fn at_once_under_one_key_one_is_made() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({}));
    for round in 0..5 {
        let send = || {
            backend
                .post("/api/meetings")
                .by(&team.admin)
                .key(&format!("key-{round}"))
                .json(&body)
                .send()
        };
        let answers = join_all((0..4).map(|_| send())).await;
        let made: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201 && answer.header("idempotency-replayed").is_none())
            .collect();
        assert_eq!(made.len(), 1, "round {round}");
        for answer in &answers {
            match answer.status {
                201 => assert_eq!(answer.body, made[0].body),
                409 => {
                    assert_eq!(answer.json()["type"], "urn:seer:problem:idempotency-key-in-use");
                    assert!(answer.header("retry-after").is_some());
                }
                other => panic!("{other} {}", answer.body),
            }
        }
        // Whoever was told to come again finds the answer.
        let again = send().await.is(201);
        assert_eq!(
            (&again.body, again.header("idempotency-replayed")),
            (&made[0].body, Some("true"))
        );
        assert_eq!(backend.number("SELECT count(*) FROM meetings").await, round + 1);
    }
}

#[tokio::test]
async fn a_refusal_does_not_use_the_key_up() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let send = async |body: &Value| {
        backend
            .post("/api/meetings")
            .by(&team.admin)
            .key("key-1")
            .json(body)
            .send()
            .await
    };
    send(&meeting(team.member.id, json!({"duration": 0})))
        .await
        .names("duration");
    let taken = meeting(team.member.id, json!({"meetingBaasId": "bot-1"}));
    let holder = backend.meeting(&team, json!({"meetingBaasId": "bot-1"})).await;
    send(&taken).await.problem(409, "conflict");
    let free = backend.put(&format!("/api/meetings/{}", id(&holder))).by(&team.admin);
    free.json(&json!({"meetingBaasId": null})).send().await.is(200);
    let made = send(&taken).await.is(201);
    assert_eq!(made.header("idempotency-replayed"), None);
}

#[tokio::test]
async fn an_expired_key_is_a_new_one() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({}));
    let send = async || {
        backend
            .post("/api/meetings")
            .by(&team.admin)
            .key("key-1")
            .json(&body)
            .send()
            .await
            .is(201)
    };
    let first = send().await;
    let day = "SELECT count(*) FROM idempotency_keys WHERE expires_at BETWEEN now() + '23 h' AND now() + '24 h'";
    assert_eq!(backend.number(day).await, 1);
    backend
        .execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
        .await;
    let second = send().await;
    assert_eq!(second.header("idempotency-replayed"), None);
    assert_ne!(second.body, first.body);
    assert_eq!(send().await.body, second.body);
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let before = backend.stored().await;
    let body = meeting(team.member.id, json!({}));
    for bad in ["", " ", &"k".repeat(256)] {
        let answer = backend
            .post("/api/meetings")
            .by(&team.admin)
            .key(bad)
            .json(&body)
            .send()
            .await;
        answer.names("Idempotency-Key");
    }
    assert_eq!(backend.stored().await, before);
    let longest = "k".repeat(255);
    backend
        .post("/api/meetings")
        .by(&team.admin)
        .key(&longest)
        .json(&body)
        .send()
        .await
        .is(201);
}
