//! Tasks: their creation, permissions and completion.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::backend::Backend;
use super::people::{Person, Team, id, with};

/// A team with a meeting, and the path of its tasks.
async fn meeting(backend: &Backend) -> (Team, Uuid, String) {
    let team = backend.team("one").await;
    let meeting = id(&backend.meeting(&team, json!({})).await);
    (team, meeting, format!("/api/meetings/{meeting}/tasks"))
}

async fn listed(backend: &Backend, by: &Person, tasks: &str) -> Vec<Value> {
    backend.get(tasks).by(by).send().await.is(200).items()
}

async fn patch(backend: &Backend, by: &Person, task: &str, body: Value) -> Answer {
    backend.patch(task).by(by).json(&body).send().await
}

#[tokio::test]
async fn task_has_fields_and_defaults() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let answer = backend
        .post(&tasks)
        .by(&team.admin)
        .json(&json!({"text": "Call them"}))
        .send()
        .await
        .is(201);
    let made = answer.json();
    let all = [
        "id",
        "text",
        "status",
        "assignedTo",
        "reasoning",
        "relatedAreaForSupport",
        "suggestedAssignee",
        "meetingId",
        "createdAt",
        "completedAt",
    ];
    assert_eq!(
        made.as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        BTreeSet::from(all)
    );
    assert_eq!(
        (&made["text"], &made["status"]),
        (&json!("Call them"), &json!("incomplete"))
    );
    assert_eq!(made["meetingId"], json!(meeting));
    for empty in [
        "assignedTo",
        "reasoning",
        "relatedAreaForSupport",
        "suggestedAssignee",
        "completedAt",
    ] {
        assert_eq!(made[empty], Value::Null, "{empty}");
    }
    assert!(answer.header("location").unwrap().ends_with(&id(&made).to_string()));

    let given = json!({
        "text": "Zweite — 日本語", "status": "suggested", "assignedTo": team.member.id, "reasoning": "Because",
        "relatedAreaForSupport": "Focus", "suggestedAssignee": "team_member",
    });
    let second = backend.task(&team.admin, meeting, given.clone()).await;
    for (name, value) in given.as_object().unwrap() {
        assert_eq!(&second[name], value, "{name}");
    }
    for person in [&team.admin, &team.member] {
        // Oldest first.
        assert_eq!(listed(&backend, person, &tasks).await, [made.clone(), second.clone()]);
    }
}

#[tokio::test]
async fn completed_at_follows_the_status() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let made = backend.task(&team.admin, meeting, json!({})).await;
    let task = format!("{tasks}/{}", id(&made));
    let done = patch(&backend, &team.admin, &task, json!({"status": "complete"}))
        .await
        .is(200)
        .json();
    assert!(done["completedAt"].is_string(), "{done}");
    // Done again is done since the first time.
    let again = patch(
        &backend,
        &team.admin,
        &task,
        json!({"status": "complete", "text": "Called"}),
    )
    .await
    .is(200)
    .json();
    assert_eq!(again["completedAt"], done["completedAt"]);
    let open = patch(&backend, &team.admin, &task, json!({"status": "incomplete"}))
        .await
        .is(200)
        .json();
    assert_eq!(open["completedAt"], Value::Null);
    let born_done = backend.task(&team.admin, meeting, json!({"status": "complete"})).await;
    assert!(born_done["completedAt"].is_string(), "{born_done}");
}

#[tokio::test]
async fn change_touches_only_named_fields() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let made = backend
        .task(
            &team.admin,
            meeting,
            json!({"reasoning": "Because", "assignedTo": team.member.id}),
        )
        .await;
    let task = format!("{tasks}/{}", id(&made));
    let body = json!({"text": "Other", "reasoning": null, "suggestedAssignee": "manager"});
    let changed = patch(&backend, &team.admin, &task, body.clone()).await.is(200).json();
    assert_eq!(changed, with(made, body));
    assert_eq!(listed(&backend, &team.member, &tasks).await, [changed]);
}

#[tokio::test]
async fn team_member_approves_and_completes() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let made = backend.task(&team.admin, meeting, json!({"status": "suggested"})).await;
    let task = format!("{tasks}/{}", id(&made));
    let before = backend.stored().await;
    for (field, value) in [
        ("text", json!("Mine")),
        ("assignedTo", json!(team.admin.id)),
        ("reasoning", json!("No")),
        ("relatedAreaForSupport", Value::Null),
        ("suggestedAssignee", json!("manager")),
    ] {
        patch(&backend, &team.member, &task, json!({field: value}))
            .await
            .problem(403, "forbidden");
        patch(
            &backend,
            &team.member,
            &task,
            json!({field: value, "status": "complete"}),
        )
        .await
        .problem(403, "forbidden");
    }
    backend
        .post(&tasks)
        .by(&team.member)
        .json(&json!({"text": "x"}))
        .send()
        .await
        .problem(403, "forbidden");
    backend
        .delete(&task)
        .by(&team.member)
        .send()
        .await
        .problem(403, "forbidden");
    assert_eq!(backend.stored().await, before);
    // They approve it in one way only.
    for status in ["incomplete", "complete"] {
        patch(&backend, &team.member, &task, json!({"status": status}))
            .await
            .problem(403, "forbidden");
    }
    assert_eq!(backend.stored().await, before);
    let approve = backend.patch(&format!("{task}/approve")).by(&team.member);
    approve.send().await.is(200);
    for status in ["complete", "incomplete"] {
        let changed = patch(&backend, &team.member, &task, json!({"status": status}))
            .await
            .is(200)
            .json();
        assert_eq!(changed["status"], status);
    }
    patch(&backend, &team.member, &task, json!({"status": "suggested"}))
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn suggestion_is_approved_once() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let suggested = backend.task(&team.admin, meeting, json!({"status": "suggested"})).await;
    let approve = format!("{tasks}/{}/approve", id(&suggested));
    let approved = backend.patch(&approve).by(&team.admin).send().await.is(200).json();
    assert_eq!(approved, with(suggested, json!({"status": "incomplete"})));
    backend
        .patch(&approve)
        .by(&team.admin)
        .send()
        .await
        .problem(409, "conflict");
    for status in ["incomplete", "complete"] {
        let other = backend.task(&team.admin, meeting, json!({"status": status})).await;
        let approve = format!("{tasks}/{}/approve", id(&other));
        backend
            .patch(&approve)
            .by(&team.admin)
            .send()
            .await
            .problem(409, "conflict");
    }
    assert_eq!(
        backend
            .number("SELECT count(*) FROM tasks WHERE status = 'incomplete'")
            .await,
        2
    );
}

#[tokio::test]
async fn deleted_task_is_gone() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let (first, second) = (
        backend.task(&team.admin, meeting, json!({})).await,
        backend.task(&team.admin, meeting, json!({})).await,
    );
    let task = format!("{tasks}/{}", id(&first));
    backend.delete(&task).by(&team.admin).send().await.is(204);
    backend
        .delete(&task)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    patch(&backend, &team.admin, &task, json!({"status": "complete"}))
        .await
        .problem(404, "not-found");
    backend
        .patch(&format!("{task}/approve"))
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    assert_eq!(listed(&backend, &team.admin, &tasks).await, [second]);
}

#[tokio::test]
async fn task_belongs_to_its_meeting() {
    let backend = Backend::start().await;
    let (team, meeting, _) = meeting(&backend).await;
    let elsewhere = id(&backend.meeting(&team, json!({})).await);
    let made = backend.task(&team.admin, meeting, json!({"status": "suggested"})).await;
    let before = backend.stored().await;
    for parent in [elsewhere, Uuid::now_v7()] {
        let task = format!("/api/meetings/{parent}/tasks/{}", id(&made));
        patch(&backend, &team.admin, &task, json!({"text": "x"}))
            .await
            .problem(404, "not-found");
        backend
            .patch(&format!("{task}/approve"))
            .by(&team.admin)
            .send()
            .await
            .problem(404, "not-found");
        backend
            .delete(&task)
            .by(&team.admin)
            .send()
            .await
            .problem(404, "not-found");
    }
    let nowhere = format!("/api/meetings/{}/tasks", Uuid::now_v7());
    backend
        .get(&nowhere)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    backend
        .post(&nowhere)
        .by(&team.admin)
        .json(&json!({"text": "x"}))
        .send()
        .await
        .problem(404, "not-found");
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn assignee_must_be_in_the_team() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let other = backend.team("two").await;
    let made = backend.task(&team.admin, meeting, json!({})).await;
    let task = format!("{tasks}/{}", id(&made));
    let before = backend.stored().await;
    for nobody in [other.admin.id, other.member.id, Uuid::now_v7()] {
        let body = json!({"text": "x", "assignedTo": nobody});
        backend
            .post(&tasks)
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .names("assignedTo");
        patch(&backend, &team.admin, &task, body).await.names("assignedTo");
    }
    assert_eq!(backend.stored().await, before);
    let colleague = backend.member(&team.admin, "colleague").await;
    for somebody in [
        json!(team.admin.id),
        json!(team.member.id),
        json!(colleague.id),
        Value::Null,
    ] {
        let changed = patch(&backend, &team.admin, &task, json!({"assignedTo": somebody}))
            .await
            .is(200)
            .json();
        assert_eq!(changed["assignedTo"], somebody);
    }
}

#[tokio::test]
async fn change_breaks_no_rule() {
    let backend = Backend::start().await;
    let (team, meeting, tasks) = meeting(&backend).await;
    let made = backend.task(&team.admin, meeting, json!({})).await;
    let task = format!("{tasks}/{}", id(&made));
    let before = backend.stored().await;
    patch(&backend, &team.admin, &task, json!({}))
        .await
        .problem(422, "invalid");
    for (field, value) in [
        ("text", Value::Null),
        ("text", json!("")),
        ("text", json!("x".repeat(5001))),
        ("status", Value::Null),
        ("status", json!("done")),
        ("assignedTo", json!("somebody")),
        ("suggestedAssignee", json!("me")),
        ("meetingId", json!(Uuid::now_v7())),
        ("completedAt", json!("2031-01-01T00:00:00Z")),
    ] {
        patch(&backend, &team.admin, &task, json!({field: value}))
            .await
            .names(field);
    }
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn admin_lists_team_tasks_newest_first() {
    let backend = Backend::start().await;
    let (team, first, _) = meeting(&backend).await;
    let other = backend.team("two").await;
    let foreign = id(&backend.meeting(&other, json!({})).await);
    backend.task(&other.admin, foreign, json!({})).await;
    let second = id(&backend.meeting(&team, json!({"teamMemberId": team.admin.id})).await);
    let mut made = Vec::new();
    for (place, parent) in [first, second, second, first, first].into_iter().enumerate() {
        let status = if place % 2 == 0 { "suggested" } else { "incomplete" };
        made.insert(0, backend.task(&team.admin, parent, json!({"status": status})).await);
    }
    let all = "/api/meetings/tasks/all";
    for limit in [1, 2, 4, 5, 100] {
        let met = backend.walk(&team.admin, all, limit).await;
        assert_eq!(met, made, "limit {limit}");
    }
    let suggested = listed(&backend, &team.admin, &format!("{all}?status=suggested")).await;
    assert_eq!(suggested, [made[0].clone(), made[2].clone(), made[4].clone()]);
    backend.get(all).by(&team.member).send().await.problem(403, "forbidden");
    for (query, field) in [
        ("status=x", "status"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("x=1", "x"),
    ] {
        backend
            .get(&format!("{all}?{query}"))
            .by(&team.admin)
            .send()
            .await
            .names(field);
    }
}
