//! Users: registration, the caller's own user, and their team.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::backend::Backend;
use super::people::{Person, id, with};

const REGISTER: &str = "/api/users/register";
const ME: &str = "/api/users/me";
const USERS: &str = "/api/users";

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn uninvited_user_leads_a_team() {
    let backend = Backend::start().await;
    let claims = json!({"sub": "user_ada", "email": "Ada@Example.com", "name": "Ada Lovelace"});
    let user = backend.post(REGISTER).claiming(claims).send().await.is(201).json();
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
    assert_eq!(members(&user), BTreeSet::from(all));
    assert_eq!(user["email"], "ada@example.com");
    assert_eq!(user["name"], "Ada Lovelace");
    assert_eq!(user["role"], "admin");
    assert_eq!(user["clerkId"], "user_ada");
    assert_eq!(user["adminId"], Value::Null);
    assert_eq!(id(&user).get_version_num(), 7);
    assert!(
        user["createdAt"]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .is_ok()
    );
}

#[tokio::test]
async fn second_registration_finds_the_row() {
    let backend = Backend::start().await;
    let ada = Person::stranger("ada");
    let first = backend.post(REGISTER).by(&ada).send().await.is(201).json();
    // Another name in the token changes nothing: the row keeps the user's name.
    let renamed = with(
        ada.claims(),
        json!({"name": "Somebody else", "email": "else@example.com"}),
    );
    let again = backend
        .post(REGISTER)
        .claiming(renamed)
        .json(&json!({}))
        .send()
        .await
        .is(200)
        .json();
    assert_eq!(again, first);
    assert_eq!(backend.get(ME).by(&ada).send().await.is(200).json(), first);
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn name_defaults_to_the_address() {
    let backend = Backend::start().await;
    let claims = json!({"sub": "user_ada", "email": "ada@example.com"});
    let user = backend.post(REGISTER).claiming(claims).send().await.is(201).json();
    assert_eq!(user["name"], "ada");
}

#[tokio::test]
async fn concurrent_registration_makes_one() {
    let backend = Backend::start().await;
    let ada = Person::stranger("ada");
    let answers = join_all((0..6).map(|_| backend.post(REGISTER).by(&ada).cold().send())).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 201]);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn register_without_address_fails() {
    let backend = Backend::start().await;
    backend
        .post(REGISTER)
        .claiming(json!({"sub": "user_ada"}))
        .send()
        .await
        .names("email");
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 0);
}

#[tokio::test]
async fn unregistered_user_must_register() {
    let backend = Backend::start().await;
    let answer = backend
        .get(ME)
        .by(&Person::stranger("ada"))
        .send()
        .await
        .problem(401, "not-registered");
    assert!(
        answer.json()["detail"].as_str().unwrap().contains(REGISTER),
        "{}",
        answer.body
    );
    backend.get(ME).send().await.problem(401, "unauthorized");
    let stranger = backend.get(USERS).by(&Person::stranger("ada"));
    stranger.send().await.problem(401, "not-registered");
    backend.get(USERS).send().await.problem(401, "unauthorized");
}

/// By name and then id, to every member alike, and without the identifier of the other service.
#[tokio::test]
async fn users_list_is_the_whole_team() {
    let backend = Backend::start().await;
    let zoe = backend.admin("zoe").await;
    let alone = backend.get(USERS).by(&zoe).send().await.is(200).json();
    assert_eq!(alone.as_array().unwrap().len(), 1);

    let (max, amy) = (backend.member(&zoe, "max").await, backend.member(&zoe, "amy").await);
    // Two of a name.
    let mut namesake = Person::stranger("max2");
    let claims = with(namesake.claims(), json!({"name": "max"}));
    namesake.id = id(&backend.post(REGISTER).claiming(claims).send().await.is(201).json());
    let token = backend.invite(&zoe, &namesake.email).await["token"].clone();
    let mut namesakes = [max.id, namesake.id];
    namesakes.sort_unstable();
    // Another team, and an invited person before they accept.
    backend.team("other").await;
    let team = backend.get(USERS).by(&zoe).send().await.is(200).json();
    assert_eq!(team.as_array().unwrap().len(), 3);
    backend.accept(&namesake, &token).await.is(200);

    for caller in [&zoe, &max, &amy] {
        let team = backend.get(USERS).by(caller).send().await.is(200).json();
        let ids: Vec<_> = team.as_array().unwrap().iter().map(id).collect();
        assert_eq!(ids, [amy.id, namesakes[0], namesakes[1], zoe.id]);
        let mut me = backend.get(ME).by(caller).send().await.is(200).json();
        me.as_object_mut().unwrap().remove("clerkId");
        me["lastAnalyzedAt"] = Value::Null;
        assert!(team.as_array().unwrap().contains(&me), "{team} has no {me}");
    }
}

#[tokio::test]
async fn registering_joins_no_team() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    backend.invite(&ada, "max@example.com").await;
    let max = Person::stranger("max");
    let user = backend.post(REGISTER).by(&max).send().await.is(201).json();
    assert_eq!((&user["role"], &user["adminId"]), (&json!("admin"), &Value::Null));
    let pending = "SELECT count(*) FROM invitations WHERE status = 'pending'";
    assert_eq!(backend.number(pending).await, 1);
}

#[tokio::test]
async fn user_is_visible_to_the_team() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let colleague = backend.member(&team.admin, "colleague").await;
    let path = format!("{USERS}/{}", team.member.id);
    let whole = backend.get(USERS).by(&team.admin).send().await.is(200).json();
    for caller in [&team.admin, &team.member, &colleague] {
        let user = backend.get(&path).by(caller).send().await.is(200).json();
        assert!(whole.as_array().unwrap().contains(&user), "{user}");
    }
    for caller in [&other.admin, &other.member] {
        let theirs = backend.get(&path).by(caller).send().await.problem(404, "not-found");
        let absent = format!("{USERS}/{}", uuid::Uuid::now_v7());
        let absent = backend.get(&absent).by(caller).send().await.problem(404, "not-found");
        assert_eq!(theirs.json()["detail"], absent.json()["detail"]);
    }
    // A former member sees only themselves.
    backend.post("/api/users/me/leave").by(&colleague).send().await.is(200);
    backend.get(&path).by(&colleague).send().await.problem(404, "not-found");
    let own = format!("{USERS}/{}", colleague.id);
    backend.get(&own).by(&colleague).send().await.is(200);
    backend.get(&own).by(&team.admin).send().await.problem(404, "not-found");
    backend
        .get(&format!("{USERS}/nobody"))
        .by(&team.admin)
        .send()
        .await
        .names("id");
}
