//! Membership decides: a former member sees none of the team's meetings and tasks, regardless of their part in them.

use serde_json::{Value, json};

use super::backend::Backend;
use super::people::{Person, id};

/// Requests about a meeting of a team, and one of its tasks.
fn requests(path: &str, task: &str) -> Vec<(&'static str, String, Option<Value>)> {
    vec![
        ("GET", path.to_owned(), None),
        ("GET", format!("{path}/changes"), None),
        ("GET", format!("{path}/agenda"), None),
        ("GET", format!("{path}/tasks"), None),
        ("POST", format!("{path}/suggest-tasks"), None),
        ("POST", format!("{path}/tasks"), Some(json!({"text": "x"}))),
        ("PUT", path.to_owned(), Some(json!({"title": "Mine"}))),
        ("DELETE", path.to_owned(), None),
        ("PATCH", task.to_owned(), Some(json!({"status": "complete"}))),
        ("PATCH", format!("{task}/approve"), None),
        ("DELETE", task.to_owned(), None),
    ]
}

async fn listed(backend: &Backend, by: &Person, list: &str) -> usize {
    backend.get(list).by(by).send().await.is(200).items().len()
}

#[tokio::test]
async fn former_member_and_creator_see_nothing() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let creator = backend.member(&team.admin, "creator").await;
    let made = backend.meeting(&team, json!({"areasForSupport": ["x"]})).await;
    let path = format!("/api/meetings/{}", id(&made));
    let task = backend
        .task(&team.admin, id(&made), json!({"status": "suggested"}))
        .await;
    let task = format!("{path}/tasks/{}", id(&task));
    backend
        .execute(&format!("UPDATE meetings SET created_by = '{}'", creator.id))
        .await;
    for person in [&team.member, &creator] {
        backend.get(&path).by(person).send().await.is(200);
        assert_eq!(listed(&backend, person, "/api/meetings").await, 1);
    }

    // One leads a team of their own now, the other is on another team.
    backend.leave(&team.member).await;
    backend.join(&creator, &other.admin).await;
    let before = backend.stored().await;
    for person in [&team.member, &creator] {
        for (method, path, body) in requests(&path, &task) {
            let mut call = backend.call(method, &path).by(person);
            if let Some(body) = &body {
                call = call.json(body);
            }
            call.send().await.problem(404, "not-found");
        }
        for list in ["/api/meetings", "/api/meetings/with-team-members"] {
            assert_eq!(listed(&backend, person, list).await, 0);
            let own = format!("{list}?teamMemberId={}", person.id);
            assert_eq!(listed(&backend, person, &own).await, 0);
        }
        let own = format!("/api/meetings/team-member/{}", person.id);
        assert_eq!(listed(&backend, person, &own).await, 0);
    }
    // Their new team's admin does not see it either, the old team's admin still does.
    backend
        .get(&path)
        .by(&other.admin)
        .send()
        .await
        .problem(404, "not-found");
    backend.get(&path).by(&team.admin).send().await.is(200);
    assert_eq!(listed(&backend, &team.admin, "/api/meetings").await, 1);
    assert_eq!(backend.stored().await, before);
}

/// Fields are checked only if they are given.
#[tokio::test]
async fn meeting_whose_member_left_stays_editable() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let path = format!("/api/meetings/{}", id(&made));
    let task = backend
        .task(&team.admin, id(&made), json!({"assignedTo": team.member.id}))
        .await;
    let task = format!("{path}/tasks/{}", id(&task));
    backend.leave(&team.member).await;

    let put = async |body: Value| backend.put(&path).by(&team.admin).json(&body).send().await;
    let changed = put(json!({"title": "Kept"})).await.is(200).json();
    assert_eq!(
        (&changed["title"], &changed["teamMemberId"]),
        (&json!("Kept"), &json!(team.member.id))
    );
    put(json!({"teamMemberId": team.member.id})).await.names("teamMemberId");
    let patch = async |body: Value| backend.patch(&task).by(&team.admin).json(&body).send().await;
    let changed = patch(json!({"status": "complete"})).await.is(200).json();
    assert_eq!(changed["assignedTo"], json!(team.member.id));
    patch(json!({"assignedTo": team.member.id})).await.names("assignedTo");
    assert_eq!(
        patch(json!({"assignedTo": ""})).await.is(200).json()["assignedTo"],
        Value::Null
    );
    put(json!({"teamMemberId": team.admin.id})).await.is(200);
}

/// A creator below the admin manages the tasks, and only the admin changes the meeting.
#[tokio::test]
async fn creator_manages_only_tasks() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let creator = backend.member(&team.admin, "creator").await;
    let made = backend.meeting(&team, json!({})).await;
    let path = format!("/api/meetings/{}", id(&made));
    backend
        .execute(&format!("UPDATE meetings SET created_by = '{}'", creator.id))
        .await;
    let task = backend.task(&creator, id(&made), json!({})).await;
    let task = format!("{path}/tasks/{}", id(&task));
    let text = backend.patch(&task).by(&creator).json(&json!({"text": "New"}));
    text.send().await.is(200);
    backend.delete(&task).by(&creator).send().await.is(204);
    let put = backend.put(&path).by(&creator).json(&json!({"title": "x"}));
    put.send().await.problem(403, "forbidden");
    backend
        .delete(&path)
        .by(&creator)
        .send()
        .await
        .problem(403, "forbidden");
    backend.delete(&path).by(&team.admin).send().await.is(204);
}

#[tokio::test]
async fn member_list_is_for_the_team() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let colleague = backend.member(&team.admin, "colleague").await;
    let first = backend.meeting(&team, json!({"date": "2031-03-01T09:00:00Z"})).await;
    let second = backend
        .meeting(&team, json!({"date": "2031-03-02T09:00:00Z", "transcript": "Ada: Hi"}))
        .await;
    backend.meeting(&team, json!({"teamMemberId": team.admin.id})).await;
    let path = format!("/api/meetings/team-member/{}", team.member.id);
    for by in [&team.admin, &team.member] {
        let items = backend.get(&path).by(by).send().await.is(200).items();
        let ids: Vec<_> = items.iter().map(id).collect();
        assert_eq!(ids, [id(&second), id(&first)]);
        assert!(items[0].get("transcript").is_none());
        let page = backend.walk(by, &path, 1).await;
        assert_eq!(page, items);
    }
    // A colleague may ask, and sees none of them.
    assert_eq!(listed(&backend, &colleague, &path).await, 0);
    for stranger in [&other.admin, &other.member] {
        backend.get(&path).by(stranger).send().await.problem(404, "not-found");
    }
    let query = backend.get(&format!("{path}?status=completed")).by(&team.admin);
    query.send().await.names("status");
    backend
        .get("/api/meetings/team-member/7")
        .by(&team.admin)
        .send()
        .await
        .names("userId");
}
