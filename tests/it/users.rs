//! Users: registration, invitations, and the caller's own user.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::backend::Backend;
use super::people::{Person, id, with};

const REGISTER: &str = "/api/users/register";
const INVITE: &str = "/api/users/invite";
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
async fn invited_address_joins_as_user() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let invitation = backend
        .post(INVITE)
        .by(&ada)
        .json(&json!({"email": "Max@Example.com"}))
        .send()
        .await
        .is(201);
    let invitation = invitation.json();
    assert_eq!(
        members(&invitation),
        BTreeSet::from(["id", "email", "status", "createdAt"])
    );
    assert_eq!(
        (&invitation["email"], &invitation["status"]),
        (&json!("max@example.com"), &json!("pending"))
    );

    let max = Person::stranger("max");
    let claims = with(
        max.claims(),
        json!({"email": "MAX@example.COM", "email_verified": true}),
    );
    let user = backend.post(REGISTER).claiming(claims).send().await.is(201).json();
    assert_eq!((&user["role"], &user["adminId"]), (&json!("user"), &json!(ada.id)));
    assert_eq!(backend.get(ME).by(&max).send().await.is(200).json(), user);
    let accepted =
        "SELECT count(*) FROM invitations i JOIN users u ON u.id = i.accepted_by WHERE i.status = 'accepted'";
    assert_eq!(backend.number(accepted).await, 1);

    // Used up: a second account with the address joins no team.
    let second = with(claims_of("max2"), json!({"email": "max@example.com"}));
    assert_eq!(
        backend.post(REGISTER).claiming(second).send().await.is(201).json()["role"],
        "admin"
    );
}

#[tokio::test]
async fn unverified_address_joins_no_team() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    backend
        .post(INVITE)
        .by(&ada)
        .json(&json!({"email": "max@example.com"}))
        .send()
        .await
        .is(201);
    let claims = with(
        claims_of("mallory"),
        json!({"email": "max@example.com", "email_verified": false}),
    );
    let user = backend.post(REGISTER).claiming(claims).send().await.is(201).json();
    assert_eq!((&user["role"], &user["adminId"]), (&json!("admin"), &Value::Null));
    assert_eq!(
        backend
            .number("SELECT count(*) FROM invitations WHERE status = 'pending'")
            .await,
        1
    );
}

#[tokio::test]
async fn invitation_admits_one_account() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    backend
        .post(INVITE)
        .by(&ada)
        .json(&json!({"email": "max@example.com"}))
        .send()
        .await
        .is(201);
    let register = async |name: &str| {
        let claims = with(claims_of(name), json!({"email": "max@example.com"}));
        backend
            .post(REGISTER)
            .claiming(claims)
            .cold()
            .send()
            .await
            .is(201)
            .json()["role"]
            .clone()
    };
    let roles = tokio::join!(register("a"), register("b"), register("c"), register("d"));
    let roles = [roles.0, roles.1, roles.2, roles.3];
    assert_eq!(roles.iter().filter(|role| **role == "user").count(), 1, "{roles:?}");
}

#[tokio::test]
async fn newest_invitation_counts() {
    let backend = Backend::start().await;
    let (ada, eve) = (backend.admin("ada").await, backend.admin("eve").await);
    for admin in [&ada, &eve] {
        backend
            .post(INVITE)
            .by(admin)
            .json(&json!({"email": "max@example.com"}))
            .send()
            .await
            .is(201);
    }
    let user = backend
        .post(REGISTER)
        .by(&Person::stranger("max"))
        .send()
        .await
        .is(201)
        .json();
    assert_eq!(user["adminId"], json!(eve.id));
}

#[tokio::test]
async fn second_invitation_is_the_same() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let invite = async |email: &str| {
        backend
            .post(INVITE)
            .by(&ada)
            .json(&json!({"email": email}))
            .send()
            .await
            .is(201)
    };
    let first = invite("max@example.com").await.json();
    let again = invite("MAX@example.com").await.json();
    assert_eq!(again, first);
    assert_eq!(backend.number("SELECT count(*) FROM invitations").await, 1);
}

#[tokio::test]
async fn invite_needs_admin_and_new_address() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let other = backend.team("two").await;
    let invite =
        async |by: &Person, email: &str| backend.post(INVITE).by(by).json(&json!({"email": email})).send().await;
    invite(&team.member, "new@example.com").await.problem(403, "forbidden");
    invite(&team.admin, &team.member.email.to_uppercase())
        .await
        .problem(409, "conflict");
    invite(&team.admin, &team.admin.email).await.problem(409, "conflict");
    // This admin must not learn that a person is on another team.
    let pending = invite(&team.admin, &other.member.email).await.is(201).json();
    let unknown = invite(&team.admin, "unknown@example.com").await.is(201).json();
    assert_eq!(members(&pending), members(&unknown));
    assert_eq!(pending["status"], unknown["status"]);
}

#[tokio::test]
async fn invalid_address_is_not_invited() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let before = backend.stored().await;
    let long = format!("{}@example.com", "x".repeat(243));
    for bad in [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@nodot",
        "a b@example.com",
        "a@b@example.com",
        "a@ex\0.com",
        &long,
    ] {
        backend
            .post(INVITE)
            .by(&ada)
            .json(&json!({"email": bad}))
            .send()
            .await
            .names("email");
    }
    assert_eq!(backend.stored().await, before);
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
    let namesake = with(claims_of("max2"), json!({"name": "max"}));
    let invitation = json!({"email": namesake["email"]});
    backend.post(INVITE).by(&zoe).json(&invitation).send().await.is(201);
    let namesake = id(&backend.post(REGISTER).claiming(namesake).send().await.is(201).json());
    let mut namesakes = [max.id, namesake];
    namesakes.sort_unstable();
    // Another team, and somebody invited who has not registered.
    backend.team("other").await;
    let invitation = json!({"email": "later@example.com"});
    backend.post(INVITE).by(&zoe).json(&invitation).send().await.is(201);

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

fn claims_of(name: &str) -> Value {
    Person::stranger(name).claims()
}
