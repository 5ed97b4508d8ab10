//! Two isolated teams: neither lists, filters nor rows that no route creates cross over. `matrix` has each route.

use serde_json::json;
use uuid::Uuid;

use super::backend::Backend;
use super::people::id;

/// The answers for invisible and absent resources are identical.
#[tokio::test]
async fn invisible_looks_like_absent() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let made = id(&backend.meeting(&team, json!({})).await);
    let task = id(&backend.task(&team.admin, made, json!({})).await);
    let area = id(&backend.key_area(&team, "Secret").await);
    let analysis = backend.analysis(&team, "Secret", "2026-03-02T09:30:00Z").await;
    let (member, absent) = (team.member.id, Uuid::now_v7());
    for (method, theirs, nowhere) in [
        ("GET", format!("meetings/{made}"), format!("meetings/{absent}")),
        ("DELETE", format!("meetings/{made}"), format!("meetings/{absent}")),
        (
            "GET",
            format!("meetings/{made}/changes"),
            format!("meetings/{absent}/changes"),
        ),
        (
            "GET",
            format!("meetings/{made}/agenda"),
            format!("meetings/{absent}/agenda"),
        ),
        (
            "GET",
            format!("meetings/{made}/tasks"),
            format!("meetings/{absent}/tasks"),
        ),
        (
            "POST",
            format!("meetings/{made}/suggest-tasks"),
            format!("meetings/{absent}/suggest-tasks"),
        ),
        (
            "DELETE",
            format!("meetings/{made}/tasks/{task}"),
            format!("meetings/{absent}/tasks/{absent}"),
        ),
        (
            "PATCH",
            format!("meetings/{made}/tasks/{task}/approve"),
            format!("meetings/{absent}/tasks/{absent}/approve"),
        ),
        (
            "GET",
            format!("users/{member}/key-areas"),
            format!("users/{absent}/key-areas"),
        ),
        (
            "DELETE",
            format!("users/{member}/key-areas/{area}"),
            format!("users/{absent}/key-areas/{absent}"),
        ),
        (
            "GET",
            format!("meetings/analysis/{member}/{analysis}"),
            format!("meetings/analysis/{absent}/{absent}"),
        ),
        (
            "GET",
            format!("meetings/analyze/{member}"),
            format!("meetings/analyze/{absent}"),
        ),
    ] {
        let mut answers = Vec::new();
        for path in [theirs, nowhere] {
            let call = backend.call(method, &format!("/api/{path}")).by(&other.admin);
            let mut problem = call.send().await.problem(404, "not-found").json();
            problem.as_object_mut().unwrap().remove("requestId");
            answers.push(problem);
        }
        assert_eq!(answers[0], answers[1], "{method}");
    }
}

#[tokio::test]
async fn lists_stay_within_the_team() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let mut expected = Vec::new();
    for team in [&team, &other] {
        let made = backend.meeting(team, json!({})).await;
        let task = backend.task(&team.admin, id(&made), json!({})).await;
        expected.push((made, task));
    }
    for (team, (made, task)) in [&team, &other].into_iter().zip(expected) {
        let meetings = format!("/api/meetings?teamMemberId={}", team.member.id);
        for list in ["/api/meetings", meetings.as_str()] {
            let page = backend.get(list).by(&team.admin).send().await.is(200).json();
            assert_eq!(page[0]["id"], made["id"]);
            assert_eq!(page.as_array().unwrap().len(), 1);
        }
        let tasks = backend
            .get("/api/meetings/tasks/all")
            .by(&team.admin)
            .send()
            .await
            .is(200)
            .json();
        assert_eq!(tasks, json!([task]));
    }
    for team in [&team, &other] {
        for caller in [&team.admin, &team.member] {
            let users = backend.get("/api/users").by(caller).send().await.is(200).json();
            let ids: Vec<_> = users.as_array().unwrap().iter().map(id).collect();
            assert_eq!(ids, [team.admin.id, team.member.id]);
        }
    }
    // Filtering by the other team's member changes nothing.
    let theirs = format!("/api/meetings?teamMemberId={}", other.member.id);
    let page = backend.get(&theirs).by(&team.admin).send().await.is(200).json();
    assert_eq!(page, json!([]));
}

/// Only rows that no route creates make a person a participant of another team's meeting; even then they do not see it.
#[tokio::test]
async fn foreign_participant_sees_nothing() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let made = id(&backend.meeting(&team, json!({})).await);
    let path = format!("/api/meetings/{made}");
    for stranger in [&other.admin, &other.member] {
        backend
            .execute(&format!(
                "UPDATE meetings SET team_member_id = '{0}', created_by = '{0}'",
                stranger.id
            ))
            .await;
        let before = backend.stored().await;
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", format!("{path}/tasks")),
            ("DELETE", path.clone()),
        ] {
            let call = backend.call(method, &path).by(stranger);
            call.send().await.problem(404, "not-found");
        }
        let put = backend.put(&path).by(stranger).json(&json!({"title": "x"}));
        put.send().await.problem(404, "not-found");
        let list = backend.get("/api/meetings").by(stranger).send().await.is(200);
        assert_eq!(list.json(), json!([]));
        assert_eq!(backend.stored().await, before);
    }
}
