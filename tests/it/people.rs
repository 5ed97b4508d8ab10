//! Callers: the gateway's claims about them, and their rows.

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::backend::Backend;

/// A person with a valid token, registered or not.
#[derive(Clone, Debug)]
pub struct Person {
    /// The token's `sub`.
    pub sub: String,
    /// The token's `email`.
    pub email: String,
    /// The id of the row, nil before registration.
    pub id: Uuid,
}

impl Person {
    /// Returns an unregistered person.
    pub fn stranger(name: &str) -> Self {
        Self {
            sub: format!("user_{name}"),
            email: format!("{name}@example.com"),
            id: Uuid::nil(),
        }
    }

    /// The claims of their token.
    pub fn claims(&self) -> Value {
        json!({
            "iss": "https://idp.example.com",
            "aud": "seer",
            "sub": self.sub,
            "email": self.email,
            "email_verified": true,
            "name": self.sub.trim_start_matches("user_"),
            "exp": 4_000_000_000_u64,
        })
    }
}

/// An admin and a member of the admin's team.
#[derive(Clone, Debug)]
pub struct Team {
    /// Leads the team.
    pub admin: Person,
    /// Is on it.
    pub member: Person,
}

impl Backend {
    /// Registers a person unchanged.
    pub async fn register(&self, mut person: Person) -> Person {
        let user = self.post("/api/users/register").by(&person).send().await.is(201).json();
        person.id = id(&user);
        person
    }

    /// A new admin, with a team of their own.
    pub async fn admin(&self, name: &str) -> Person {
        self.register(Person::stranger(name)).await
    }

    /// A new member of an admin's team.
    pub async fn member(&self, admin: &Person, name: &str) -> Person {
        let person = self.register(Person::stranger(name)).await;
        let token = self.invite(admin, &person.email).await["token"].clone();
        self.accept(&person, &token).await.is(200);
        person
    }

    /// Invites an address to an admin's team.
    pub async fn invite(&self, admin: &Person, email: &str) -> Value {
        let body = json!({ "email": email });
        self.post("/api/users/invite")
            .by(admin)
            .json(&body)
            .send()
            .await
            .is(201)
            .json()
    }

    /// Accepts the invitation of a link.
    pub async fn accept(&self, person: &Person, token: &Value) -> Answer {
        let body = json!({ "token": token, "clerkId": person.sub });
        self.post("/api/users/invite/accept")
            .by(person)
            .json(&body)
            .send()
            .await
    }

    /// Takes a member out of their team, as removing them does: they lead an empty one.
    pub async fn leave(&self, member: &Person) {
        let sql = format!(
            "UPDATE users SET role = 'admin', admin_id = NULL WHERE id = '{}'",
            member.id
        );
        self.execute(&sql).await;
    }

    /// Puts a person on another admin's team.
    pub async fn join(&self, person: &Person, admin: &Person) {
        let sql = format!(
            "UPDATE users SET role = 'user', admin_id = '{}' WHERE id = '{}'",
            admin.id, person.id
        );
        self.execute(&sql).await;
    }

    /// A new team of two.
    pub async fn team(&self, name: &str) -> Team {
        let admin = self.admin(&format!("{name}-admin")).await;
        let member = self.member(&admin, &format!("{name}-member")).await;
        Team { admin, member }
    }

    /// Creates a meeting of the team's admin with its member; `more` overrides the defaults.
    pub async fn meeting(&self, team: &Team, more: Value) -> Value {
        let body = meeting(team.member.id, more);
        self.post("/api/meetings")
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .is(201)
            .json()
    }

    /// A new task of a meeting.
    pub async fn task(&self, by: &Person, meeting: Uuid, more: Value) -> Value {
        let body = with(json!({ "text": "Send the figures" }), more);
        self.post(&format!("/api/meetings/{meeting}/tasks"))
            .by(by)
            .json(&body)
            .send()
            .await
            .is(201)
            .json()
    }

    /// A stored analysis of the team's member, which no route creates; returns its id.
    pub async fn analysis(&self, team: &Team, win: &str, at: &str) -> Uuid {
        let id = Uuid::now_v7();
        let (member, admin) = (team.member.id, team.admin.id);
        let sql = format!(
            "INSERT INTO analyses VALUES ('{id}', '{member}', '{admin}', '{{{win}}}', '{{Area}}', '{{Task}}', '{at}')"
        );
        self.execute(&sql).await;
        id
    }

    /// A new key area of the team's member.
    pub async fn key_area(&self, team: &Team, name: &str) -> Value {
        self.post(&format!("/api/users/{}/key-areas", team.member.id))
            .by(&team.admin)
            .json(&json!({"name": name, "description": "Secret"}))
            .send()
            .await
            .is(201)
            .json()
    }
}

/// Returns the smallest body of a new meeting with `team_member`, and more.
pub fn meeting(team_member: Uuid, more: Value) -> Value {
    let body = json!({
        "title": "Weekly 1:1",
        "teamMemberId": team_member,
        "date": "2031-03-04T09:30:00Z",
        "duration": 30,
    });
    with(body, more)
}

/// Merges another object into an object; the other's members take precedence.
pub fn with(mut object: Value, more: Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
    object
}

/// Returns the id in an answer.
pub fn id(value: &Value) -> Uuid {
    value["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id in {value}"))
        .parse()
        .unwrap()
}
