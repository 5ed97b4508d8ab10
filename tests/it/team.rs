//! Teams: their members, removing a member, leaving.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::Backend;
use super::people::{Person, id};

const MEMBERS: &str = "/api/users/team-members";
const TEAM: &str = "/api/users/team";
const LEAVE: &str = "/api/users/me/leave";
const ME: &str = "/api/users/me";

fn ids(list: &Value) -> Vec<Uuid> {
    list.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn team_members_are_newest_first() {
    let backend = Backend::start().await;
    let zoe = backend.admin("zoe").await;
    let list = async |by: &Person| backend.get(MEMBERS).by(by).send().await;
    assert_eq!(list(&zoe).await.is(200).json(), json!([]));
    let (max, amy) = (backend.member(&zoe, "max").await, backend.member(&zoe, "amy").await);
    backend.team("other").await;
    let members = list(&zoe).await.is(200).json();
    assert_eq!(ids(&members), [amy.id, max.id]);
    let mut me = backend.get(ME).by(&amy).send().await.is(200).json();
    me.as_object_mut().unwrap().remove("clerkId");
    me["lastAnalyzedAt"] = Value::Null;
    assert_eq!(members[0], me);
    list(&max).await.problem(403, "forbidden");
    list(&Person::stranger("new")).await.problem(401, "not-registered");
}

/// A member meets only the admin; an admin meets everybody.
#[tokio::test]
async fn team_is_who_can_be_met() {
    let backend = Backend::start().await;
    let zoe = backend.admin("zoe").await;
    let list = async |by: &Person| backend.get(TEAM).by(by).send().await.is(200).json();
    assert_eq!(ids(&list(&zoe).await), [zoe.id]);
    let (max, amy) = (backend.member(&zoe, "max").await, backend.member(&zoe, "amy").await);
    backend.team("other").await;
    let whole = list(&zoe).await;
    assert_eq!(ids(&whole), [zoe.id, amy.id, max.id]);
    assert_eq!(
        whole[1],
        json!({"id": amy.id, "name": "amy", "email": "amy@example.com"})
    );
    assert_eq!(ids(&list(&max).await), [max.id, zoe.id]);
}

#[tokio::test]
async fn removed_member_leads_an_empty_team() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let path = format!("{MEMBERS}/{}", team.member.id);
    let before = backend.stored().await;
    for (by, status, kind) in [
        (&team.member, 403, "forbidden"),
        (&other.admin, 404, "not-found"),
        (&other.member, 403, "forbidden"),
    ] {
        backend.delete(&path).by(by).send().await.problem(status, kind);
    }
    let own = format!("{MEMBERS}/{}", team.admin.id);
    backend
        .delete(&own)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    assert_eq!(backend.stored().await, before);

    let removed = async || backend.delete(&path).by(&team.admin).key("k").send().await;
    assert_eq!(removed().await.is(200).json(), json!({"success": true}));
    let again = removed().await.is(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    backend
        .delete(&path)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    let user = backend.get(ME).by(&team.member).send().await.is(200).json();
    assert_eq!((&user["role"], &user["adminId"]), (&json!("admin"), &Value::Null));
    let members = backend.get(MEMBERS).by(&team.admin).send().await.is(200).json();
    assert_eq!(members, json!([]));
    // They can be invited again.
    let token = backend.invite(&team.admin, &team.member.email).await["token"].clone();
    backend.accept(&team.member, &token).await.is(200);
}

#[tokio::test]
async fn member_can_leave() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    backend
        .post(LEAVE)
        .by(&team.admin)
        .send()
        .await
        .problem(409, "conflict");
    let leave = async || backend.post(LEAVE).by(&team.member).key("k").send().await;
    let user = leave().await.is(200).json();
    assert_eq!((&user["role"], &user["adminId"]), (&json!("admin"), &Value::Null));
    let all = [
        "id",
        "email",
        "name",
        "role",
        "clerkId",
        "adminId",
        "createdAt",
        "updatedAt",
    ];
    let members: BTreeSet<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(all));
    let again = leave().await.is(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json(), user);
    backend
        .post(LEAVE)
        .by(&team.member)
        .send()
        .await
        .problem(409, "conflict");
    let whole = backend.get("/api/users").by(&team.admin).send().await.is(200).json();
    assert_eq!(ids(&whole), [team.admin.id]);
}
