//! Idempotency keys: a client that repeats a request changes nothing more, and sees the current resource.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::Backend;
use super::people::{Person, id, meeting};

/// An invitation's token is shown only once: `invitations` has a test of it.
#[tokio::test]
async fn every_post_replays_its_answer() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    let newcomer = Person::stranger("newcomer");
    for (path, by, body, table) in [
        ("/api/users/register".to_owned(), &newcomer, json!({}), "users"),
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
        (
            format!("/api/users/{}/key-areas", team.member.id),
            &team.admin,
            json!({"name": "Once", "description": "Once"}),
            "key_areas",
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

/// Every write of the API, with a key, and then the same request again.
#[tokio::test]
async fn every_write_replays() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let path = format!("/api/meetings/{}", id(&made));
    let suggested = id(&backend
        .task(&team.admin, id(&made), json!({"status": "suggested"}))
        .await);
    let task = format!("{path}/tasks/{suggested}");
    let area = id(&backend.key_area(&team, "Old").await);
    let area = format!("/api/users/{}/key-areas/{area}", team.member.id);
    let texts = json!({"name": "Once", "description": "Once"});
    for (number, (method, path, if_match, body, status)) in [
        (
            "POST",
            "/api/meetings".to_owned(),
            None,
            meeting(team.member.id, json!({"meetingBaasId": "b"})),
            201,
        ),
        ("PUT", path.clone(), Some("\"1\""), json!({"title": "Once"}), 200),
        ("PATCH", format!("{task}/approve"), None, json!({}), 200),
        ("PATCH", task.clone(), None, json!({"status": "complete"}), 200),
        ("DELETE", task, None, json!({}), 204),
        ("DELETE", path, Some("\"2\""), json!({}), 204),
        ("PUT", area.clone(), None, texts, 200),
        ("DELETE", area, None, json!({}), 200),
    ]
    .into_iter()
    .enumerate()
    {
        let send = async || {
            let call = backend
                .call(method, &path)
                .by(&team.admin)
                .key(&format!("key-{number}"))
                .json(&body);
            let call = if let Some(etag) = if_match {
                call.header("if-match", etag)
            } else {
                call
            };
            call.send().await.is(status)
        };
        let first = send().await;
        assert_eq!(first.header("idempotency-replayed"), None, "{method} {path}");
        let stored = backend.stored().await;
        let again = send().await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{method} {path}");
        for name in ["etag", "location"] {
            assert_eq!(again.header(name), first.header(name), "{method} {path}");
        }
        assert_eq!(again.body, first.body, "{method} {path}");
        assert_eq!(backend.stored().await, stored, "{method} {path}");
    }
}

#[tokio::test]
async fn replay_shows_current_resource() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({}));
    let create = async || {
        backend
            .post("/api/meetings")
            .by(&team.admin)
            .key("k")
            .json(&body)
            .send()
            .await
    };
    let path = format!("/api/meetings/{}", id(&create().await.is(201).json()));
    let update = backend.put(&path).by(&team.admin).json(&json!({"title": "Later"}));
    update.send().await.is(200);
    let replay = create().await.is(201);
    assert_eq!(replay.json()["title"], "Later");
    assert_eq!(replay.header("etag"), Some("\"2\""));
    backend.delete(&path).by(&team.admin).send().await.is(204);
    let gone = create().await;
    assert_eq!(gone.header("idempotency-replayed"), Some("true"));
    gone.problem(404, "not-found");
}

#[tokio::test]
async fn replay_is_authorised_again() {
    let backend = Backend::start().await;
    let (one, two) = (backend.team("one").await, backend.team("two").await);
    let made = id(&backend.meeting(&one, json!({})).await);
    let path = format!(
        "/api/meetings/{made}/tasks/{}",
        id(&backend.task(&one.admin, made, json!({})).await)
    );
    let body = json!({"status": "complete"});
    let send = async || backend.patch(&path).by(&one.member).key("k").json(&body).send().await;
    send().await.is(200);
    // The meeting's participant is now a person of another team.
    let moved = format!(
        "UPDATE meetings SET team_member_id = '{}' WHERE id = '{made}'",
        two.member.id
    );
    backend.execute(&moved).await;
    let refused = send().await;
    assert_eq!(refused.header("idempotency-replayed"), Some("true"));
    refused.problem(404, "not-found");
}

/// A deleted row cannot be read, so the caller's permission is checked by the remaining rows.
#[tokio::test]
async fn replay_of_deletion_is_authorised_again() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let leaver = backend.member(&team.admin, "leaver").await;
    let kept = id(&backend.meeting(&team, json!({})).await);
    let task = id(&backend.task(&team.admin, kept, json!({})).await);
    let area = id(&backend.key_area(&team, "Old").await);
    let gone = id(&backend.meeting(&team, json!({})).await);
    let invitation = id(&backend.invite(&team.admin, "new@example.com").await);
    let received = id(&backend.invite(&other.admin, &team.admin.email).await);
    let member = team.member.id;
    let deletions = [
        (format!("/api/meetings/{kept}/tasks/{task}"), 204, 404),
        (format!("/api/users/{member}/key-areas/{area}"), 200, 404),
        (format!("/api/meetings/{gone}"), 204, 403),
        (format!("/api/users/invitations/{invitation}"), 200, 403),
        (format!("/api/users/me/invitations/{received}"), 200, 200),
        (format!("/api/users/team-members/{}", leaver.id), 200, 403),
    ];
    let send = async |path: &str| backend.delete(path).by(&team.admin).key(path).send().await;
    for (path, status, _) in &deletions {
        for replayed in [None, Some("true")] {
            let answer = send(path).await.is(*status);
            assert_eq!(answer.header("idempotency-replayed"), replayed, "{path}");
        }
    }
    let replays = async |expected: &dyn Fn(u16) -> u16| {
        let before = backend.stored().await;
        for (path, _, lost) in &deletions {
            let answer = send(path).await.is(expected(*lost));
            assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{path}");
        }
        assert_eq!(backend.stored().await, before);
    };
    // The admin is on another team now, and then the account is gone.
    backend.join(&team.admin, &other.admin).await;
    replays(&|lost| lost).await;
    backend
        .execute(&format!(
            "UPDATE users SET clerk_id = 'deleted' WHERE id = '{}'",
            team.admin.id
        ))
        .await;
    replays(&|_| 401).await;
}

#[tokio::test]
async fn condition_belongs_to_the_request() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    let send = async |etag: &str| {
        let call = backend
            .put(&path)
            .by(&team.admin)
            .key("k")
            .json(&json!({"title": "New"}));
        call.header("if-match", etag).send().await
    };
    send("\"1\"").await.is(200);
    send("\"2\"").await.problem(422, "idempotency-key-reused");
}

/// A receipt contains nothing of the request or its answer, which is a megabyte here.
#[tokio::test]
async fn receipts_hold_no_content() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let large = json!({"transcript": "x".repeat(1_000_000)});
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, large).await));
    for round in 0..60 {
        let key = format!("key-{round}");
        let call = backend.put(&path).by(&team.admin).key(&key);
        let answer = call.json(&json!({"title": key})).send().await.is(200);
        assert!(answer.body.len() > 1_000_000);
    }
    let widest = "SELECT max(pg_column_size(r.*))::int8 FROM receipts r";
    assert!(backend.number(widest).await < 200);
    let all = backend.number("SELECT pg_total_relation_size('receipts')").await;
    assert!(all < 100_000, "{all} bytes");
    let id: Uuid = path.rsplit('/').next().unwrap().parse().unwrap();
    let about = format!("SELECT count(*) FROM receipts WHERE id = '{id}' AND kind = 'meeting'");
    assert_eq!(backend.number(&about).await, 61);
}

#[tokio::test]
async fn key_is_for_one_request() {
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
async fn other_request_while_first_runs_is_reused() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    let (meetings, one) = ("/api/meetings".to_owned(), format!("/api/meetings/{made}"));
    let bodies = ["a", "b"].map(|title| meeting(team.member.id, json!({"title": title, "meetingBaasId": "bot"})));
    for (round, (method, path, bodies)) in [
        ("POST", meetings, bodies),
        ("PUT", one.clone(), [json!({"title": "a"}), json!({"title": "b"})]),
        (
            "POST",
            format!("{one}/tasks"),
            [json!({"text": "a"}), json!({"text": "b"})],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{round}");
        let send = |body| backend.call(method, &path).by(&team.admin).key(&key).json(body).send();
        let mut holder = super::backend::connect(backend.url()).await;
        sqlx::raw_sql("BEGIN; LOCK TABLE meetings, tasks IN SHARE MODE")
            .execute(&mut holder)
            .await
            .unwrap();
        let both = async { tokio::join!(send(&bodies[0]), send(&bodies[1])) };
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let release = async {
            super::backend::until(async || backend.number(waiting).await == 2).await;
            sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
        };
        let ((first, second), ()) = tokio::join!(both, release);
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert!(statuses[0] < 300 && statuses[1] == 422, "{method} {path}: {statuses:?}");
        let refused = if first.status == 422 { first } else { second };
        refused.problem(422, "idempotency-key-reused");
    }
}

#[tokio::test]
async fn keyless_creates_are_separate() {
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
    // Another caller's key and body reveal nothing.
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
async fn concurrent_key_creates_one() {
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
            .filter(|answer| answer.header("idempotency-replayed").is_none())
            .collect();
        assert_eq!(made.len(), 1, "round {round}");
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &made[0].body), "round {round}");
        }
        assert_eq!(backend.number("SELECT count(*) FROM meetings").await, round + 1);
    }
}

#[tokio::test]
async fn refusal_keeps_the_key_unused() {
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
async fn expired_key_is_a_new_one() {
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
    let day = "SELECT count(*) FROM receipts WHERE expires_at BETWEEN now() + '23 h' AND now() + '24 h'";
    assert_eq!(backend.number(day).await, 1);
    backend
        .execute("UPDATE receipts SET expires_at = now() - interval '1 second'")
        .await;
    let second = send().await;
    assert_eq!(second.header("idempotency-replayed"), None);
    assert_ne!(second.body, first.body);
    assert_eq!(send().await.body, second.body);
}

#[tokio::test]
async fn malformed_key_is_refused() {
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
