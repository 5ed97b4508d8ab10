//! Key areas: what the admin of a team and a member agree to work on.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::Backend;
use super::people::{Team, id};

fn areas(team: &Team) -> String {
    format!("/api/users/{}/key-areas", team.member.id)
}

async fn listed(backend: &Backend, team: &Team) -> Vec<Value> {
    let areas = backend.get(&areas(team)).by(&team.admin).send().await.is(200).json();
    areas.as_array().unwrap().clone()
}

#[tokio::test]
async fn key_area_has_its_creator() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let texts = json!({"name": "  On-call ", "description": "Leads the rota\n"});
    let call = backend.post(&areas(&team)).by(&team.admin).json(&texts);
    let answer = call.send().await.is(201);
    let area = answer.json();
    let members: BTreeSet<_> = area.as_object().unwrap().keys().map(String::as_str).collect();
    let all = [
        "id",
        "name",
        "description",
        "userId",
        "createdById",
        "createdBy",
        "createdAt",
        "updatedAt",
    ];
    assert_eq!(members, BTreeSet::from(all));
    let location = format!("{}/{}", areas(&team), id(&area));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    // Without the spaces around them.
    assert_eq!(
        (&area["name"], &area["description"]),
        (&json!("On-call"), &json!("Leads the rota"))
    );
    assert_eq!(
        (&area["userId"], &area["createdById"]),
        (&json!(team.member.id), &json!(team.admin.id))
    );
    let admin = json!({"id": team.admin.id, "name": "one-admin", "email": team.admin.email});
    assert_eq!(area["createdBy"], admin);
    assert_eq!(listed(&backend, &team).await, [area]);
}

/// Newest first, to the member and the admin alike.
#[tokio::test]
async fn key_areas_are_listed_newest_first() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    assert_eq!(listed(&backend, &team).await, [] as [Value; 0]);
    let mut expected = Vec::new();
    for name in ["first", "second", "third"] {
        expected.insert(0, backend.key_area(&team, name).await);
    }
    assert_eq!(listed(&backend, &team).await, expected);
    let to_member = backend.get(&areas(&team)).by(&team.member).send().await.is(200);
    assert_eq!(to_member.json(), json!(expected));
    for limit in 1..4 {
        assert_eq!(backend.walk(&team.member, &areas(&team), limit).await, expected);
    }
    // The admin's own, of which there are none, because an admin has no admin.
    let own = format!("/api/users/{}/key-areas", team.admin.id);
    assert_eq!(backend.get(&own).by(&team.admin).send().await.is(200).json(), json!([]));
    backend
        .get(&own)
        .by(&team.member)
        .send()
        .await
        .problem(403, "forbidden");
    let texts = json!({"name": "x", "description": "x"});
    let create = backend.post(&own).by(&team.admin).json(&texts);
    create.send().await.problem(404, "not-found");
}

#[tokio::test]
async fn update_replaces_both_texts() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let (kept, area) = (
        backend.key_area(&team, "kept").await,
        backend.key_area(&team, "old").await,
    );
    let path = format!("{}/{}", areas(&team), id(&area));
    let put = |body: Value| backend.put(&path).by(&team.admin).json(&body).send();
    put(json!({"name": "new"})).await.names("description");
    put(json!({"description": "new"})).await.names("name");
    let changed = put(json!({"name": " new ", "description": "better"}))
        .await
        .is(200)
        .json();
    let mut expected = area.clone();
    expected["name"] = json!("new");
    expected["description"] = json!("better");
    expected["updatedAt"] = changed["updatedAt"].clone();
    assert_eq!(changed, expected);
    assert_ne!(changed["updatedAt"], area["updatedAt"]);
    assert_eq!(listed(&backend, &team).await, [changed, kept]);
}

/// The pages read every answer as JSON.
#[tokio::test]
async fn delete_answers_json() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let (kept, area) = (
        backend.key_area(&team, "kept").await,
        backend.key_area(&team, "old").await,
    );
    let path = format!("{}/{}", areas(&team), id(&area));
    let delete = || backend.delete(&path).by(&team.admin);
    assert_eq!(delete().send().await.is(200).json(), json!({"success": true}));
    delete().send().await.problem(404, "not-found");
    assert_eq!(listed(&backend, &team).await, [kept]);
}

#[tokio::test]
async fn key_area_is_under_its_member_only() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let colleague = backend.member(&team.admin, "colleague").await;
    let area = id(&backend.key_area(&team, "old").await);
    let before = backend.stored().await;
    let texts = json!({"name": "x", "description": "x"});
    for (user, area) in [
        (colleague.id, area),
        (team.admin.id, area),
        (team.member.id, Uuid::now_v7()),
    ] {
        let path = format!("/api/users/{user}/key-areas/{area}");
        let put = backend.put(&path).by(&team.admin).json(&texts);
        put.send().await.problem(404, "not-found");
        let delete = backend.delete(&path).by(&team.admin);
        delete.send().await.problem(404, "not-found");
    }
    assert_eq!(backend.stored().await, before);
}

/// A member who changes teams takes no key areas along, and the old team's admin reaches none of theirs any more; also
/// not under an old key.
#[tokio::test]
async fn former_member_leaves_key_areas_behind() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let create = || {
        let call = backend.post(&areas(&team)).by(&team.admin).key("k");
        call.json(&json!({"name": "Secret", "description": "Secret"})).send()
    };
    let area = create().await.is(201).json();
    let path = format!("{}/{}", areas(&team), id(&area));
    let moved = |admin: Uuid| format!("UPDATE users SET admin_id = '{admin}' WHERE id = '{}'", team.member.id);
    backend.execute(&moved(other.admin.id)).await;

    let replay = create().await;
    assert_eq!(replay.header("idempotency-replayed"), Some("true"));
    replay.problem(404, "not-found");
    let texts = json!({"name": "x", "description": "x"});
    for admin in [&team.admin, &other.admin] {
        let put = backend.put(&path).by(admin).json(&texts);
        put.send().await.problem(404, "not-found");
        backend.delete(&path).by(admin).send().await.problem(404, "not-found");
    }
    let list = areas(&team);
    backend
        .get(&list)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    for caller in [&other.admin, &team.member] {
        let listed = backend.get(&list).by(caller).send().await.is(200);
        assert_eq!(listed.json(), json!([]));
    }
    // Back again.
    backend.execute(&moved(team.admin.id)).await;
    assert_eq!(listed(&backend, &team).await, [area]);
}
