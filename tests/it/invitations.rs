//! Invitations: sending, listing and cancelling them, the limit of a team, accepting and declining.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::Answer;
use super::backend::Backend;
use super::people::{Person, id, with};

const INVITE: &str = "/api/users/invite";
const ACCEPT: &str = "/api/users/invite/accept";
const SENT: &str = "/api/users/invitations";
const RECEIVED: &str = "/api/users/me/invitations";
const STATUS: &str = "/api/users/can-invite";
const ME: &str = "/api/users/me";

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn status(current: i64, pending: i64, remaining: i64) -> Value {
    json!({
        "canInvite": remaining > 0, "currentCount": current, "pendingInvitations": pending,
        "remainingInvites": remaining,
    })
}

async fn join(backend: &Backend, by: &Person, invitation: &Value) -> Answer {
    let path = format!("{RECEIVED}/{}/accept", id(invitation));
    backend.post(&path).by(by).send().await
}

async fn expire(backend: &Backend) {
    backend
        .execute("UPDATE invitations SET expires_at = now() - interval '1 second'")
        .await;
}

#[tokio::test]
async fn invited_person_accepts_by_link() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let invited = backend.invite(&ada, "Max@Example.com").await;
    let all = [
        "id",
        "email",
        "status",
        "createdAt",
        "updatedAt",
        "expires",
        "success",
        "message",
        "inviteStatus",
        "token",
    ];
    assert_eq!(members(&invited), BTreeSet::from(all));
    assert_eq!(invited["email"], "max@example.com");
    assert_eq!(
        (&invited["status"], &invited["success"]),
        (&json!("pending"), &json!(true))
    );
    assert_eq!(invited["inviteStatus"], status(0, 1, 2));
    let week = "SELECT count(*) FROM invitations WHERE expires_at BETWEEN now() + '6 days 23 h' AND now() + '7 days'";
    assert_eq!(backend.number(week).await, 1);

    // The address of the account does not matter to the link.
    let max = backend.register(Person::stranger("maximilian")).await;
    let accepted = backend.accept(&max, &invited["token"]).await.is(200).json();
    assert_eq!(members(&accepted), BTreeSet::from(["success", "message", "user"]));
    let user = &accepted["user"];
    assert_eq!((&user["role"], &user["adminId"]), (&json!("user"), &json!(ada.id)));
    assert_eq!(&backend.get(ME).by(&max).send().await.is(200).json(), user);
    let by = format!(
        "SELECT count(*) FROM invitations WHERE status = 'accepted' AND accepted_by = '{}'",
        max.id
    );
    assert_eq!(backend.number(&by).await, 1);

    // Again, as the page does: the same answer, and nothing changes.
    let before = backend.stored().await;
    assert_eq!(backend.accept(&max, &invited["token"]).await.is(200).json(), accepted);
    assert_eq!(backend.stored().await, before);
    // Single-use: no other person can follow the link.
    let eve = backend.admin("eve").await;
    backend.accept(&eve, &invited["token"]).await.problem(404, "not-found");
    // Nor the same person, once they have left.
    backend.post("/api/users/me/leave").by(&max).send().await.is(200);
    backend.accept(&max, &invited["token"]).await.problem(404, "not-found");
}

/// Only the digest is stored, and neither lists nor logs show the token.
#[tokio::test]
async fn token_is_shown_once() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let body = json!({"email": "max@example.com"});
    let invite = || backend.post(INVITE).by(&ada).key("k").json(&body);
    let first = invite().send().await.is(201);
    let invited = first.json();
    let token = invited["token"].as_str().unwrap();
    assert_eq!(token.len(), 43);
    assert!(!first.environment().log().join("\n").contains(token));
    let replayed = invite().send().await.is(201);
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    let replay = replayed.json();
    assert_eq!(replay["token"], Value::Null);
    for name in ["id", "expires", "inviteStatus", "status"] {
        assert_eq!(replay[name], invited[name], "{name}");
    }
    let list = backend.get(SENT).by(&ada).send().await.is(200);
    assert!(
        !list.body.contains(token) && !list.body.contains("oken"),
        "{}",
        list.body
    );
    let stored = format!("SELECT count(*) FROM invitations i WHERE i::text LIKE '%{token}%'");
    assert_eq!(backend.number(&stored).await, 0);
    let digest = format!("SELECT count(*) FROM invitations WHERE token_hash = sha256('{token}')");
    assert_eq!(backend.number(&digest).await, 1);
}

#[tokio::test]
async fn second_invitation_renews_the_first() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let first = backend.invite(&ada, "max@example.com").await;
    backend
        .execute("UPDATE invitations SET expires_at = now() + interval '1 minute'")
        .await;
    let again = backend.invite(&ada, "MAX@example.com").await;
    for name in ["id", "createdAt", "inviteStatus"] {
        assert_eq!(again[name], first[name], "{name}");
    }
    assert_eq!(backend.number("SELECT count(*) FROM invitations").await, 1);
    let week = "SELECT count(*) FROM invitations WHERE expires_at > now() + '6 days'";
    assert_eq!(backend.number(week).await, 1);
    // The newest link is the one that works.
    let max = backend.register(Person::stranger("max")).await;
    backend.accept(&max, &first["token"]).await.problem(404, "not-found");
    backend.accept(&max, &again["token"]).await.is(200);
}

/// After it expired, was accepted, declined or cancelled, an address can be invited again.
#[tokio::test]
async fn address_can_be_invited_again() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let max = backend.register(Person::stranger("max")).await;
    let invite = async || backend.invite(&ada, &max.email).await;

    let expired = invite().await;
    expire(&backend).await;
    backend.accept(&max, &expired["token"]).await.problem(404, "not-found");
    join(&backend, &max, &expired).await.problem(404, "not-found");
    for list in [SENT, RECEIVED] {
        let by = if list == SENT { &ada } else { &max };
        assert_eq!(backend.get(list).by(by).send().await.is(200).json(), json!([]));
    }
    assert_eq!(
        backend.get(STATUS).by(&ada).send().await.is(200).json(),
        status(0, 0, 3)
    );

    let declined = invite().await;
    let path = format!("{RECEIVED}/{}", id(&declined));
    let done = backend.delete(&path).by(&max).send().await.is(200).json();
    assert_eq!(done, json!({"success": true}));
    backend.delete(&path).by(&max).send().await.problem(404, "not-found");

    let cancelled = invite().await;
    let path = format!("{SENT}/{}", id(&cancelled));
    let done = backend.delete(&path).by(&ada).send().await.is(200).json();
    assert_eq!(done, json!({"success": true}));
    backend
        .accept(&max, &cancelled["token"])
        .await
        .problem(404, "not-found");

    for _ in 0..2 {
        let invited = invite().await;
        backend.accept(&max, &invited["token"]).await.is(200);
        let path = format!("{SENT}/{}", id(&invited));
        backend.delete(&path).by(&ada).send().await.problem(409, "conflict");
        backend.post("/api/users/me/leave").by(&max).send().await.is(200);
    }
}

#[tokio::test]
async fn own_list_leads_to_the_team() {
    let backend = Backend::start().await;
    let (ada, eve) = (backend.admin("ada").await, backend.admin("eve").await);
    let max = backend.register(Person::stranger("max")).await;
    let from_ada = backend.invite(&ada, "Max@example.com").await;
    let from_eve = backend.invite(&eve, "max@Example.com").await;
    backend.invite(&eve, "somebody@example.com").await;

    let list = backend.get(RECEIVED).by(&max).send().await.is(200).json();
    let list = list.as_array().unwrap();
    let ids: Vec<_> = list.iter().map(id).collect();
    assert_eq!(ids, [id(&from_eve), id(&from_ada)]);
    let all = ["id", "invitedBy", "invitedByEmail", "createdAt", "expires"];
    assert_eq!(members(&list[0]), BTreeSet::from(all));
    assert_eq!(list[0]["invitedBy"], "eve");
    assert_eq!(list[0]["expires"], from_eve["expires"]);

    let joined = join(&backend, &max, &from_ada).await.is(200).json();
    assert_eq!(joined["user"]["adminId"], json!(ada.id));
    assert_eq!(join(&backend, &max, &from_ada).await.is(200).json(), joined);
    // A person is on one team.
    join(&backend, &max, &from_eve).await.problem(409, "conflict");
    backend.post("/api/users/me/leave").by(&max).send().await.is(200);
    let joined = join(&backend, &max, &from_eve).await.is(200).json();
    assert_eq!(joined["user"]["adminId"], json!(eve.id));
}

/// Only a claim that is exactly true lets the address decide.
#[tokio::test]
async fn unverified_address_decides_nothing() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let invited = backend.invite(&ada, "max@example.com").await;
    let mallory = backend.register(Person::stranger("mallory")).await;
    let before = backend.stored().await;
    let one = format!("{RECEIVED}/{}", id(&invited));
    for verified in [json!(false), json!("True"), json!(1), Value::Null] {
        let claims = with(
            mallory.claims(),
            json!({"email": "max@example.com", "email_verified": verified}),
        );
        for (method, path) in [("GET", RECEIVED), ("DELETE", &one), ("POST", &format!("{one}/accept"))] {
            let call = backend.call(method, path).claiming(claims.clone());
            call.send().await.problem(403, "forbidden");
        }
    }
    // Another address, verified: the invitation is not theirs.
    for (method, path) in [("DELETE", one.clone()), ("POST", format!("{one}/accept"))] {
        let call = backend.call(method, &path).by(&mallory);
        call.send().await.problem(404, "not-found");
    }
    // The lower case of the Kelvin sign is the letter k: another address all the same.
    let kim = backend.invite(&ada, "kim@example.com").await;
    let claims = with(mallory.claims(), json!({"email": "\u{212a}im@example.com"}));
    let call = backend
        .post(&format!("{RECEIVED}/{}/accept", id(&kim)))
        .claiming(claims);
    call.send().await.problem(404, "not-found");
    assert_eq!(backend.stored().await["users"], before["users"]);
}

#[tokio::test]
async fn team_has_a_limit() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let get = async || backend.get(STATUS).by(&ada).send().await.is(200).json();
    assert_eq!(get().await, status(0, 0, 3));
    backend.member(&ada, "amy").await;
    assert_eq!(get().await, status(1, 0, 2));
    backend.invite(&ada, "ben@example.com").await;
    let last = backend.invite(&ada, "cat@example.com").await;
    assert_eq!(last["inviteStatus"], status(1, 2, 0));
    assert_eq!(get().await, status(1, 2, 0));
    let invite = async |email: &str| {
        let body = json!({ "email": email });
        backend.post(INVITE).by(&ada).json(&body).send().await
    };
    let before = backend.stored().await;
    let full = invite("dan@example.com").await.problem(409, "conflict").json();
    assert!(full["detail"].as_str().unwrap().contains("full"), "{full}");
    assert_eq!(backend.stored().await, before);
    // An invitation that is there already can be renewed, and one that expired makes room.
    let again = invite("cat@example.com").await.is(201).json();
    assert_eq!(again["inviteStatus"], status(1, 2, 0));
    backend
        .execute("UPDATE invitations SET expires_at = now() WHERE email = 'ben@example.com'")
        .await;
    assert_eq!(get().await, status(1, 1, 1));
    invite("dan@example.com").await.is(201);
    invite("ben@example.com").await.problem(409, "conflict");

    // More members than places, as an import may have: accepting is refused.
    let team = "INSERT INTO users (id, clerk_id, email, name, role, admin_id)
        SELECT gen_random_uuid(), n::text, n::text, n::text, 'user', (SELECT id FROM users WHERE clerk_id = 'user_ada')
        FROM generate_series(1, 3) n";
    backend.execute(team).await;
    assert_eq!(get().await, status(4, 2, 0));
    let cat = backend.register(Person::stranger("cat")).await;
    backend.accept(&cat, &again["token"]).await.problem(409, "conflict");
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
        let call = backend.post(INVITE).by(&ada).json(&json!({"email": bad}));
        call.send().await.names("email");
    }
    assert_eq!(backend.stored().await, before);
    // A capital letter outside ASCII stays as it is.
    let kept = backend.invite(&ada, "\u{c9}ve@Example.com").await;
    assert_eq!(kept["email"], "\u{c9}ve@example.com");
}

#[tokio::test]
async fn leader_cannot_join() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let team = backend.team("two").await;
    let to_member = backend.invite(&ada, &team.member.email).await;
    let to_admin = backend.invite(&ada, &team.admin.email).await;
    let before = backend.stored().await;
    // A member of another team; the admin of members; the admin who sent it.
    for (by, invited) in [(&team.member, &to_member), (&team.admin, &to_admin), (&ada, &to_admin)] {
        backend.accept(by, &invited["token"]).await.problem(409, "conflict");
    }
    assert_eq!(backend.stored().await, before);
    // Without the member there is the meeting.
    backend.meeting(&team, json!({})).await;
    backend
        .post("/api/users/me/leave")
        .by(&team.member)
        .send()
        .await
        .is(200);
    let answer = backend.accept(&team.admin, &to_admin["token"]).await;
    answer.problem(409, "conflict");
    backend.execute("DELETE FROM meetings").await;
    backend.accept(&team.admin, &to_admin["token"]).await.is(200);
}

/// An admin who joins another team no longer invites people to their own.
#[tokio::test]
async fn joining_withdraws_own_invitations() {
    let backend = Backend::start().await;
    let (ada, eve) = (backend.admin("ada").await, backend.admin("eve").await);
    let max = backend.register(Person::stranger("max")).await;
    let from_eve = backend.invite(&eve, &max.email).await;
    let to_eve = backend.invite(&ada, &eve.email).await;
    backend.accept(&eve, &to_eve["token"]).await.is(200);
    backend.accept(&max, &from_eve["token"]).await.problem(404, "not-found");
    assert_eq!(backend.get(RECEIVED).by(&max).send().await.is(200).json(), json!([]));
}

#[tokio::test]
async fn acceptance_is_the_callers_own() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let max = backend.register(Person::stranger("max")).await;
    let token = backend.invite(&ada, &max.email).await["token"].clone();
    let before = backend.stored().await;
    let send = async |body: Value| backend.post(ACCEPT).by(&max).json(&body).send().await;
    send(json!({"token": token, "clerkId": "user_eve"}))
        .await
        .problem(403, "forbidden");
    send(json!({"token": "unknown"})).await.problem(404, "not-found");
    send(json!({"token": ""})).await.names("token");
    send(json!({"token": "x".repeat(201)})).await.names("token");
    send(json!({"clerkId": max.sub})).await.names("token");
    let stranger = backend.post(ACCEPT).by(&Person::stranger("new"));
    let stranger = stranger.json(&json!({"token": token}));
    stranger.send().await.problem(401, "not-registered");
    assert_eq!(backend.stored().await, before);
    send(json!({"token": token, "clerkId": null})).await.is(200);
}

#[tokio::test]
async fn replayed_acceptance_ends_with_membership() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let max = backend.register(Person::stranger("max")).await;
    let invited = backend.invite(&ada, &max.email).await;
    let path = format!("{RECEIVED}/{}/accept", id(&invited));
    let send = async || backend.post(&path).by(&max).key("k").send().await;
    let first = send().await.is(200);
    let again = send().await.is(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    backend.post("/api/users/me/leave").by(&max).send().await.is(200);
    let gone = send().await;
    assert_eq!(gone.header("idempotency-replayed"), Some("true"));
    gone.problem(404, "not-found");
}

#[tokio::test]
async fn invitations_are_the_admins_own() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let first = backend.invite(&team.admin, "a@example.com").await;
    let second = backend.invite(&team.admin, "b@example.com").await;
    let list = backend.get(SENT).by(&team.admin).send().await.is(200).json();
    let ids: Vec<_> = list.as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, [id(&second), id(&first)]);
    let all = ["id", "email", "status", "createdAt", "updatedAt", "expires"];
    assert_eq!(members(&list[0]), BTreeSet::from(all));
    assert_eq!(list[0]["expires"], second["expires"]);
    let other_list = backend.get(SENT).by(&other.admin).send().await.is(200).json();
    assert_eq!(other_list, json!([]));
    let path = format!("{SENT}/{}", id(&first));
    let before = backend.stored().await;
    backend
        .delete(&path)
        .by(&other.admin)
        .send()
        .await
        .problem(404, "not-found");
    backend
        .delete(&path)
        .by(&team.member)
        .send()
        .await
        .problem(403, "forbidden");
    for list in [SENT, STATUS] {
        backend
            .get(list)
            .by(&team.member)
            .send()
            .await
            .problem(403, "forbidden");
    }
    assert_eq!(backend.stored().await, before);
}
