//! Membership under concurrency: hundreds of transactions at once on the same few people. The limit of a team holds,
//! no person is on two teams or leads one while on another, and every meeting keeps its admin.
//!
//! Most tests run the routes' own operations on a pool of the engine: as many execution environments would need a larger
//! machine. One sends the requests to the functions' binaries, two environments of each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use shared::config::Config;
use shared::db::{Deadline, IdempotencyKey, Pool, Written};
use shared::http::{Caller, Error};
use tokio::sync::Semaphore;
use uuid::Uuid;

use ::functions::invitations::{self, Acceptance, Chosen, Draft, TEAM_SIZE};
use ::functions::{meetings, team, users};

use super::answer::Answer;
use super::backend::{Backend, ROUTES};
use super::call::Call;
use super::people::{Person, id, meeting};

/// Operations at once.
const CROWD: usize = 200;

/// Environments of one function that are busy at once, if there are environments.
const ENVIRONMENTS: usize = 2;

fn pool(backend: &Backend) -> Pool {
    let url = format!("{}?connection_limit=40&pool_timeout=300", backend.url());
    let config = Config::from_lookup(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some("crowd".to_owned()),
        _ => None,
    });
    Pool::new(&config.database.unwrap(), &config.lambda)
}

/// Far more than it takes: only a hang reaches it.
fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(600))
}

fn caller(name: &str) -> Caller {
    let person = Person::stranger(name);
    Caller {
        sub: person.sub,
        email: Some(person.email),
        name: None,
        email_verified: true,
    }
}

/// Returns the value of a write, or `None` if it was refused for a reason that a client may see.
fn outcome<T>(written: Result<Written<T, Error>, Error>) -> Option<T> {
    match written {
        Ok(Written::Done(value)) => Some(value),
        Err(Error::Forbidden(_) | Error::NotFound(_) | Error::Conflict(_) | Error::Invalid(_)) => None,
        Ok(_) => panic!("replayed"),
        Err(error) => panic!("{error:?}"),
    }
}

async fn register(pool: &Pool, name: &str) -> Uuid {
    let registration = users::Registration::of(&caller(name)).unwrap();
    let written = pool
        .write(
            deadline(),
            &IdempotencyKey::generated(),
            &registration,
            async |db, attempt, registration| users::register(db, attempt, registration).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    match outcome(written).unwrap() {
        users::Registered::Now(user) | users::Registered::Before(user) => user.id,
    }
}

/// Invites an address; returns the token.
async fn invite(pool: &Pool, by: &str, email: &str) -> Option<String> {
    let draft = Draft::of(serde_json::from_value(json!({ "email": email })).unwrap()).unwrap();
    let input = (caller(by), draft);
    let written = pool
        .transact(
            deadline(),
            &IdempotencyKey::generated(),
            &input,
            async |db, (caller, draft)| invitations::create(db, caller, draft).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    let invited = serde_json::to_value(outcome(written)?).unwrap();
    Some(invited["token"].as_str().unwrap().to_owned())
}

async fn accept(pool: &Pool, by: &str, chosen: Chosen) -> bool {
    let input = (caller(by), chosen);
    let written = pool
        .transact(
            deadline(),
            &IdempotencyKey::generated(),
            &input,
            async |db, (caller, chosen)| invitations::accept(db, caller, chosen).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    outcome(written).is_some()
}

async fn accept_link(pool: &Pool, by: &str, token: &str) -> bool {
    let acceptance: Acceptance = serde_json::from_value(json!({ "token": token })).unwrap();
    accept(pool, by, acceptance.by(&caller(by)).unwrap()).await
}

/// Accepts the newest invitation in the person's own list, or declines it.
async fn answer_newest(pool: &Pool, by: &str, accepting: bool) {
    let person = caller(by);
    let list = pool
        .read::<_, Error, _>(deadline(), async |db| invitations::received(db, &person).await)
        .await
        .unwrap();
    let Some(newest) = list.first() else { return };
    if accepting {
        accept(pool, by, Chosen::to(&person, newest.id.into()).unwrap()).await;
        return;
    }
    let input = (person, newest.id);
    let written = pool
        .write(
            deadline(),
            &IdempotencyKey::generated(),
            &input,
            async |db, attempt, (caller, id)| invitations::decline(db, attempt, caller, (*id).into()).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    outcome(written);
}

async fn remove(pool: &Pool, by: &str, member: Uuid) {
    let input = (caller(by), member);
    let written = pool
        .write(
            deadline(),
            &IdempotencyKey::generated(),
            &input,
            async |db, attempt, (caller, id)| team::remove(db, attempt, caller, (*id).into()).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    outcome(written);
}

async fn leave(pool: &Pool, by: &str) {
    let written = pool
        .write(
            deadline(),
            &IdempotencyKey::generated(),
            &caller(by),
            async |db, attempt, caller| team::leave(db, attempt, caller).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    outcome(written);
}

async fn meet(pool: &Pool, by: &str, id: Uuid) -> bool {
    let body = json!({"title": "Alone", "teamMemberId": id, "date": "2031-03-04T09:30:00Z", "duration": 30});
    let draft: meetings::Draft = serde_json::from_value(body).unwrap();
    let input = (caller(by), draft);
    let written = pool
        .write(
            deadline(),
            &IdempotencyKey::generated(),
            &input,
            async |db, attempt, (caller, draft)| meetings::create(db, attempt, caller, draft).await,
            async |_, _, _| Err(Error::KeyReused.into()),
        )
        .await;
    outcome(written).is_some()
}

/// Fails if a committed state breaks a rule.
async fn rules_hold(backend: &Backend) {
    let broken = format!(
        "WITH people AS (
            SELECT a.id, 1 + (SELECT count(*) FROM users m WHERE m.admin_id = a.id) + (
                SELECT count(*) FROM invitations i
                WHERE i.admin_id = a.id AND i.status = 'pending' AND i.expires_at > now()
            ) AS size FROM users a WHERE a.role = 'admin'
        )
        SELECT (SELECT count(*) FROM people WHERE size > {TEAM_SIZE})
            + (SELECT count(*) FROM users WHERE (role = 'admin') <> (admin_id IS NULL))
            + (SELECT count(*) FROM users m JOIN users a ON a.id = m.admin_id WHERE a.role <> 'admin')
            + (SELECT count(*) FROM meetings m JOIN users a ON a.id = m.team_id WHERE a.role <> 'admin')
            + (SELECT count(*) FROM invitations i JOIN users a ON a.id = i.admin_id
               WHERE i.status = 'pending' AND a.role <> 'admin')
            + (SELECT count(*) FROM invitations
               WHERE (status = 'accepted') <> (accepted_by IS NOT NULL) OR token_hash IS NULL)"
    );
    let broken = backend.number(&broken).await;
    assert_eq!(
        broken, 0,
        "a team is too large, or somebody leads one and is on another, or an invitation is half accepted"
    );
}

#[tokio::test]
async fn crowd_breaks_no_rule() {
    let backend = Backend::start().await;
    let pool = pool(&backend);
    let names: Vec<String> = (0..7).map(|number| format!("p{number}")).collect();
    let ids = join_all(names.iter().map(|name| register(&pool, name))).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..3 {
        let operations: Vec<_> = (0..CROWD)
            .map(|_| (random.u8(0..100), random.usize(0..7), random.usize(0..7)))
            .collect();
        let running = AtomicBool::new(true);
        let watching = async {
            while running.load(Ordering::Relaxed) {
                rules_hold(&backend).await;
            }
        };
        let crowd = join_all(operations.into_iter().map(async |(kind, one, other)| {
            let (by, email) = (names[one].as_str(), format!("{}@example.com", names[other]));
            match kind {
                0..30 => drop(invite(&pool, by, &email).await),
                30..60 => answer_newest(&pool, by, true).await,
                60..65 => answer_newest(&pool, by, false).await,
                65..75 => remove(&pool, by, ids[other]).await,
                75..85 => leave(&pool, by).await,
                85..90 => drop(meet(&pool, by, ids[one]).await),
                _ => assert_eq!(register(&pool, by).await, ids[one]),
            }
        }));
        let acting = async {
            crowd.await;
            running.store(false, Ordering::Relaxed);
        };
        tokio::join!(watching, acting);
        rules_hold(&backend).await;
        // So that their admins can join others again.
        backend.execute("DELETE FROM meetings").await;
    }
    // How many depends on who comes first.
    let joined = backend
        .number("SELECT count(*) FROM invitations WHERE status = 'accepted'")
        .await;
    assert!(joined > 0, "nobody joined");
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 7);
}

#[tokio::test]
async fn concurrent_invitations_keep_the_limit() {
    let backend = Backend::start().await;
    let pool = pool(&backend);
    register(&pool, "ada").await;
    let emails: Vec<String> = (0..CROWD).map(|number| format!("{number}@example.com")).collect();
    let sent = join_all(emails.iter().map(|email| invite(&pool, "ada", email))).await;
    assert_eq!(sent.iter().flatten().count(), 3);
    rules_hold(&backend).await;
}

#[tokio::test]
async fn link_admits_one_of_a_crowd() {
    let backend = Backend::start().await;
    let pool = pool(&backend);
    register(&pool, "ada").await;
    let names: Vec<String> = (0..CROWD).map(|number| format!("p{number}")).collect();
    join_all(names.iter().map(|name| register(&pool, name))).await;
    let token = invite(&pool, "ada", "somebody@example.com").await.unwrap();
    let joined = join_all(names.iter().map(|name| accept_link(&pool, name, &token))).await;
    assert_eq!(joined.iter().filter(|joined| **joined).count(), 1);
    assert_eq!(
        backend.number("SELECT count(*) FROM users WHERE role = 'user'").await,
        1
    );
    rules_hold(&backend).await;
}

/// Two admins accept each other's invitation: one leads, the other follows.
#[tokio::test]
async fn mutual_acceptance_keeps_a_leader() {
    let backend = Backend::start().await;
    let pool = pool(&backend);
    for round in 0..20 {
        let (one, two) = (format!("a{round}"), format!("b{round}"));
        tokio::join!(register(&pool, &one), register(&pool, &two));
        let to_two = invite(&pool, &one, &format!("{two}@example.com")).await.unwrap();
        let to_one = invite(&pool, &two, &format!("{one}@example.com")).await.unwrap();
        let (first, second) = tokio::join!(accept_link(&pool, &one, &to_one), accept_link(&pool, &two, &to_two));
        assert!(first != second, "round {round}: {first} {second}");
        rules_hold(&backend).await;
    }
}

/// The creator of a meeting is no longer the admin of an empty team, in either order.
#[tokio::test]
async fn meeting_keeps_its_admin() {
    let backend = Backend::start().await;
    let pool = pool(&backend);
    register(&pool, "ada").await;
    for round in 0..40 {
        let name = format!("p{round}");
        let id = register(&pool, &name).await;
        let token = invite(&pool, "ada", &format!("{name}@example.com")).await.unwrap();
        let (joined, met) = tokio::join!(accept_link(&pool, &name, &token), meet(&pool, &name, id));
        assert!(joined != met, "round {round}: joined {joined}, met {met}");
        rules_hold(&backend).await;
        let free = "UPDATE users SET role = 'admin', admin_id = NULL; DELETE FROM invitations";
        backend.execute(free).await;
    }
}

/// Requests to the functions' environments: as many at once as [`ENVIRONMENTS`] allows, the others wait.
struct Environments<'b> {
    backend: &'b Backend,
    free: BTreeMap<String, Semaphore>,
}

impl<'b> Environments<'b> {
    fn of(backend: &'b Backend) -> Self {
        let functions = ROUTES.functions().into_iter();
        let free = functions
            .map(|name| (name.to_owned(), Semaphore::new(ENVIRONMENTS)))
            .collect();
        Self { backend, free }
    }

    /// Sends a request; fails if its answer is neither a success nor a refusal.
    async fn send(&self, call: Call<'_>) -> Answer {
        let (function, event) = call.event();
        let _turn = self.free[&function].acquire().await.unwrap();
        let answer = self.backend.send(&function, event, false).await;
        let refused = [403, 404, 409, 422].contains(&answer.status);
        assert!(
            answer.status < 300 || refused,
            "{function}: {} {}",
            answer.status,
            answer.body
        );
        answer
    }

    /// Accepts the newest invitation in the person's own list, or declines it.
    async fn answer_newest(&self, by: &Person, accepting: bool) {
        let list = self
            .send(self.backend.get("/api/users/me/invitations").by(by))
            .await
            .items();
        let Some(newest) = list.first().map(id) else { return };
        let path = format!("/api/users/me/invitations/{newest}");
        let call = if accepting {
            self.backend.post(&format!("{path}/accept"))
        } else {
            self.backend.delete(&path)
        };
        self.send(call.by(by)).await;
    }
}

#[tokio::test]
async fn crowd_of_requests_breaks_no_rule() {
    let backend = Backend::start().await;
    let environments = Environments::of(&backend);
    let (mut people, mut tokens) = (Vec::new(), Vec::new());
    for number in 0..7 {
        people.push(backend.admin(&format!("p{number}")).await);
    }
    for admin in &people[..3] {
        for invited in &people[3..6] {
            tokens.push(backend.invite(admin, &invited.email).await["token"].clone());
        }
    }
    let mut random = fastrand::Rng::with_seed(11);
    let operations: Vec<_> = (0..CROWD)
        .map(|_| {
            (
                random.u8(0..100),
                random.usize(0..7),
                random.usize(0..7),
                random.usize(0..9),
            )
        })
        .collect();
    join_all(operations.into_iter().map(async |(kind, one, other, token)| {
        let (by, other) = (&people[one], &people[other]);
        let call = match kind {
            0..25 => backend.post("/api/users/invite").json(&json!({"email": other.email})),
            25..45 => backend
                .post("/api/users/invite/accept")
                .json(&json!({"token": tokens[token]})),
            45..65 => return environments.answer_newest(by, kind < 60).await,
            65..75 => backend.delete(&format!("/api/users/team-members/{}", other.id)),
            75..85 => backend.post("/api/users/me/leave"),
            85..90 => backend.post("/api/meetings").json(&meeting(by.id, json!({}))),
            _ => backend.post("/api/users/register"),
        };
        environments.send(call.by(by)).await;
    }))
    .await;
    rules_hold(&backend).await;
    // How many depends on who comes first.
    let joined = "SELECT count(*) FROM invitations WHERE status = 'accepted'";
    assert!(backend.number(joined).await > 0, "nobody joined");
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 7);
}
