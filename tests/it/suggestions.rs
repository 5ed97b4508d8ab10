//! Suggested tasks for a meeting's areas for support, and their approval.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::backend::Backend;
use super::people::{Person, Team, id};

const AREAS: [&str; 3] = ["Time to write", "SQL skills", "Time to write"];

async fn meeting(backend: &Backend) -> (Team, Value, String) {
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({"areasForSupport": AREAS})).await;
    let path = format!("/api/meetings/{}", id(&made));
    (team, made, path)
}

async fn suggest(backend: &Backend, by: &Person, path: &str) -> Answer {
    backend.post(&format!("{path}/suggest-tasks")).by(by).send().await
}

async fn tasks(backend: &Backend, by: &Person, path: &str) -> Vec<Value> {
    backend
        .get(&format!("{path}/tasks"))
        .by(by)
        .send()
        .await
        .is(200)
        .items()
}

#[tokio::test]
async fn areas_become_suggestions_once() {
    let backend = Backend::start().await;
    let (team, _, path) = meeting(&backend).await;
    let answer = suggest(&backend, &team.member, &path).await.is(200).json();
    assert_eq!(
        (&answer["suggestedTasksCount"], &answer["areasForSupportCount"]),
        (&json!(3), &json!(3))
    );
    let suggested = tasks(&backend, &team.member, &path).await;
    let shown: Vec<_> = suggested
        .iter()
        .map(|task| (task["relatedAreaForSupport"].clone(), task["suggestedAssignee"].clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (json!("Time to write"), json!("manager")),
            (json!("SQL skills"), json!("manager")),
            (json!("SQL skills"), json!("team_member")),
        ]
    );
    for task in &suggested {
        assert_eq!(
            (&task["status"], &task["assignedTo"]),
            (&json!("suggested"), &Value::Null)
        );
        let text = task["text"].as_str().unwrap();
        assert!(text.contains(task["relatedAreaForSupport"].as_str().unwrap()), "{text}");
        assert!(task["reasoning"].is_string());
    }
    let before = backend.stored().await;
    let again = suggest(&backend, &team.admin, &path).await.is(200).json();
    assert_eq!(again["suggestedTasksCount"], 3);
    assert_eq!(backend.stored().await, before, "suggested twice");

    // One is approved, the others are deleted: the deleted ones are suggested again.
    let task = |place: usize| format!("{path}/tasks/{}", id(&suggested[place]));
    let approve = backend.patch(&format!("{}/approve", task(0))).by(&team.admin);
    approve.send().await.is(200);
    for place in [1, 2] {
        backend.delete(&task(place)).by(&team.admin).send().await.is(204);
    }
    let again = suggest(&backend, &team.admin, &path).await.is(200).json();
    assert_eq!(again["suggestedTasksCount"], 2);
    assert_eq!(tasks(&backend, &team.member, &path).await.len(), 3);
}

#[tokio::test]
async fn concurrent_requests_suggest_once() {
    let backend = Backend::start().await;
    let (team, _, path) = meeting(&backend).await;
    let answers = join_all((0..6).map(|place| {
        let by = if place % 2 == 0 { &team.admin } else { &team.member };
        suggest(&backend, by, &path)
    }));
    for answer in answers.await {
        assert_eq!(answer.is(200).json()["suggestedTasksCount"], 3);
    }
    assert_eq!(tasks(&backend, &team.admin, &path).await.len(), 3);
}

#[tokio::test]
async fn replay_counts_current_suggestions() {
    let backend = Backend::start().await;
    let (team, _, path) = meeting(&backend).await;
    let send = async || {
        let call = backend.post(&format!("{path}/suggest-tasks")).by(&team.member);
        call.key("once").json(&json!({})).send().await
    };
    send().await.is(200);
    let made = tasks(&backend, &team.member, &path).await;
    let task = format!("{path}/tasks/{}", id(&made[0]));
    backend.delete(&task).by(&team.admin).send().await.is(204);
    let again = send().await.is(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json()["suggestedTasksCount"], 2);
    backend.execute("UPDATE meetings SET team_member_id = created_by").await;
    send().await.problem(404, "not-found");
    backend.delete(&path).by(&team.admin).send().await.is(204);
    send().await.problem(404, "not-found");
}

#[tokio::test]
async fn suggestions_need_areas_and_have_a_limit() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let plain = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    let before = backend.stored().await;
    suggest(&backend, &team.admin, &plain).await.problem(409, "conflict");
    let nowhere = format!("/api/meetings/{}", Uuid::now_v7());
    suggest(&backend, &team.admin, &nowhere).await.problem(404, "not-found");
    assert_eq!(backend.stored().await, before);
    let areas: Vec<_> = (0..100).map(|n| format!("{n} {}", "x".repeat(1_990))).collect();
    let many = backend.meeting(&team, json!({"areasForSupport": areas})).await;
    let many = format!("/api/meetings/{}", id(&many));
    let answer = suggest(&backend, &team.admin, &many).await.is(200).json();
    assert_eq!(
        (&answer["suggestedTasksCount"], &answer["areasForSupportCount"]),
        (&json!(20), &json!(100))
    );
}

#[tokio::test]
async fn approving_assigns_as_suggested() {
    let backend = Backend::start().await;
    let (team, made, path) = meeting(&backend).await;
    for (by, suggested, before, after) in [
        (&team.member, json!("manager"), Value::Null, json!(team.admin.id)),
        (
            &team.admin,
            json!("team_member"),
            json!(team.admin.id),
            json!(team.member.id),
        ),
        (&team.member, Value::Null, json!(team.member.id), json!(team.member.id)),
    ] {
        let task = json!({"status": "suggested", "suggestedAssignee": suggested, "assignedTo": before});
        let task = backend.task(&team.admin, id(&made), task).await;
        let approve = format!("{path}/tasks/{}/approve", id(&task));
        let approved = backend.patch(&approve).by(by).send().await.is(200).json();
        assert_eq!(
            (&approved["status"], &approved["assignedTo"]),
            (&json!("incomplete"), &after),
            "{task}"
        );
    }
    // A former member is not assigned.
    let task = json!({"status": "suggested", "suggestedAssignee": "team_member"});
    let task = backend.task(&team.admin, id(&made), task).await;
    backend.leave(&team.member).await;
    let approve = format!("{path}/tasks/{}/approve", id(&task));
    let approved = backend.patch(&approve).by(&team.admin).send().await.is(200).json();
    assert_eq!(approved["assignedTo"], Value::Null);
}
