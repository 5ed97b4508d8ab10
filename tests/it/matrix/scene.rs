//! The rows of the matrix: a team, and another one, with one row of each kind in every relation to the team.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::operations::Operation;
use crate::backend::Backend;
use crate::people::{Person, Team, id};

/// The columns of the matrix: a person of the scene, and their state.
pub const CALLERS: [&str; 11] = [
    // Without a token, and with a token without a user.
    "none",
    "unregistered",
    // Leads an empty team, and has an invitation to this one.
    "invited",
    // The meeting's participant, whom the key area and the analysis are about.
    "member",
    // On the team without a part in the meeting.
    "colleague",
    // Of the meeting, and no admin.
    "creator",
    // Leads an empty team since.
    "former member",
    // Is on the other team since.
    "former creator",
    "admin",
    "other admin",
    "other member",
];

/// Texts by which an answer shows whose rows it contains. The addresses are those of the people and of an invitation.
pub const MARKERS: [&str; 13] = [
    // The team's meeting with its member, and everything about it and about them.
    "Secret",
    // An earlier meeting with the member, which the creator has no part in.
    "Earlier",
    // The same of the creator.
    "Beside",
    // The same of the other team.
    "Elsewhere",
    // The rows of a third team about the member and the creator, and a meeting of a team that the creator leads.
    "Astray",
    "one-admin@",
    "one-member@",
    "creator@",
    "invited@",
    "two-admin@",
    "two-member@",
    "waiting@",
    "three@",
];

/// Returns the markers that answers to a caller may contain.
pub fn readable(caller: &str) -> &'static [&'static str] {
    match caller {
        "none" | "unregistered" => &[],
        "invited" => &["invited@", "one-admin@"],
        "member" => &["Secret", "Earlier", "one-admin@", "one-member@", "creator@"],
        "colleague" => &["Beside", "one-admin@", "one-member@", "creator@"],
        "creator" => &["Secret", "Beside", "one-admin@", "one-member@", "creator@"],
        "former member" => &["one-member@"],
        "former creator" => &["creator@", "two-admin@", "two-member@"],
        "admin" => &[
            "Secret",
            "Earlier",
            "Beside",
            "one-admin@",
            "one-member@",
            "creator@",
            "invited@",
        ],
        "other admin" => &["Elsewhere", "two-admin@", "two-member@", "waiting@"],
        "other member" => &["Elsewhere", "two-admin@", "two-member@"],
        _ => panic!("{caller} is no caller"),
    }
}

/// The date of the earlier meeting.
const EARLIER: &str = "2031-03-01T09:30:00Z";

/// A team with its rows, and another.
pub struct Scene {
    /// The team.
    pub team: Team,
    /// On the team too, and the creator of the meeting.
    pub creator: Person,
    /// Leads an empty team.
    pub invited: Person,
    /// The token of their invitation.
    pub token: Value,
    /// The other team.
    pub other: Team,
    /// The ids of a path, by the collection in front of the id.
    pub own: BTreeMap<&'static str, Uuid>,
    /// The same of rows beside these, which do not belong to the rest of the path.
    pub beside: BTreeMap<&'static str, Uuid>,
    /// The same of the other team.
    pub others: BTreeMap<&'static str, Uuid>,
    /// Leads a third team, on which the member and the creator were before.
    pub third: Person,
    /// The ids of that team's rows about the member, and of what no member has: a member of theirs, and an invitation
    /// that they sent.
    pub strays: BTreeMap<&'static str, Uuid>,
}

impl Scene {
    /// Makes the rows.
    pub async fn prepared(backend: &Backend) -> Self {
        // Of a join without its condition the first row is taken: that of a person whom the answer must not show.
        let third = backend.admin("three").await;
        let admin = backend.admin("one-admin").await;
        let creator = backend.member(&admin, "creator").await;
        let member = backend.member(&admin, "one-member").await;
        let (team, other) = (Team { admin, member }, backend.team("two").await);
        let invited = backend.register(Person::stranger("invited")).await;
        let invitation = backend.invite(&team.admin, &invited.email).await;
        // Newer than any meeting of the member, so that it is the current one.
        let own = Self::ids(backend, &team, "Secret", id(&invitation), "2098-01-01T00:00:00Z").await;
        let with_creator = Team {
            admin: team.admin.clone(),
            member: creator.clone(),
        };
        let beside = Self::ids(backend, &with_creator, "Beside", Uuid::now_v7(), "2098-06-01T00:00:00Z").await;
        let waiting = backend.invite(&other.admin, "waiting@example.com").await;
        let others = Self::ids(backend, &other, "Elsewhere", id(&waiting), "2026-03-02T09:30:00Z").await;
        let earlier = json!({"title": "Earlier", "date": EARLIER, "status": "completed", "wins": ["Earlier"]});
        backend.meeting(&team, earlier).await;
        let stray = backend.admin("stray").await;
        let strays = ["key-areas", "analyses", "invitations"].map(|of| (of, Uuid::now_v7()));
        let mut strays = BTreeMap::from(strays);
        strays.insert("users", stray.id);
        backend
            .execute(&format!(
                "UPDATE meetings SET created_by = '{creator}' WHERE id IN ('{meeting}', '{beside}');
                UPDATE users SET role = 'user', admin_id = '{creator}' WHERE id = '{stray_user}';
                UPDATE meetings SET status = 'completed', date = '2031-03-02T09:30:00Z', wins = '{{Beside}}',
                    updated_at = '2100-01-01T00:00:00Z' WHERE id = '{beside}';
                INSERT INTO key_areas (id, user_id, team_id, created_by, name, description)
                VALUES ('{area}', '{member}', '{third}', '{third}', 'Astray', 'Astray');
                INSERT INTO analyses VALUES
                ('{analysis}', '{member}', '{third}', '{{Astray}}', '{{}}', '{{}}', '2099-01-01T00:00:00Z');
                INSERT INTO meetings (
                    id, team_id, created_by, team_member_id, title, date, duration, status, wins, updated_at
                ) VALUES (
                    gen_random_uuid(), '{third}', '{creator}', '{member}', 'Astray', '2031-03-03T09:30:00Z', 30,
                    'completed', '{{Astray}}', '2100-01-01T00:00:00Z'
                ), (
                    gen_random_uuid(), '{creator}', '{creator}', '{creator}', 'Astray', '2031-03-03T09:30:00Z', 30,
                    'completed', '{{Astray}}', '2100-01-01T00:00:00Z'
                );
                INSERT INTO invitations (id, admin_id, email, status, accepted_by, token_hash) VALUES
                ('{stray}', '{creator}', 'invited@example.com', 'pending', NULL, sha256('stray')),
                (gen_random_uuid(), '{third}', 'invited@example.com', 'accepted', '{invited}', sha256('accepted')),
                (gen_random_uuid(), '{invited}', 'three@example.com', 'accepted', '{third}', sha256('left'))",
                creator = creator.id,
                meeting = own["meetings"],
                beside = beside["meetings"],
                area = strays["key-areas"],
                analysis = strays["analyses"],
                stray = strays["invitations"],
                stray_user = stray.id,
                member = team.member.id,
                third = third.id,
                invited = invited.id,
            ))
            .await;
        Self {
            team,
            creator,
            invited,
            token: invitation["token"].clone(),
            other,
            own,
            beside,
            others,
            third,
            strays,
        }
    }

    async fn ids(
        backend: &Backend,
        team: &Team,
        text: &str,
        invitation: Uuid,
        analyzed: &str,
    ) -> BTreeMap<&'static str, Uuid> {
        let made = json!({"title": format!("{text} draft"), "areasForSupport": [text]});
        let made = id(&backend.meeting(team, made).await);
        backend.task(&team.admin, made, json!({ "text": text })).await;
        let task = json!({"status": "suggested", "text": text});
        let task = id(&backend.task(&team.admin, made, task).await);
        let put = backend.put(&format!("/api/meetings/{made}")).by(&team.admin);
        put.json(&json!({ "title": text })).send().await.is(200);
        BTreeMap::from([
            ("meetings", made),
            ("tasks", task),
            ("users", team.member.id),
            ("key-areas", id(&backend.key_area(team, text).await)),
            ("analyses", backend.analysis(team, text, analyzed).await),
            ("invitations", invitation),
        ])
    }

    /// Returns an operation's path with the ids of the team's rows.
    pub fn path(&self, operation: &Operation) -> String {
        let ids = operation.collections().into_iter().map(|of| self.own[of]);
        operation.filled(&ids.collect::<Vec<_>>())
    }

    /// Returns the person of a column, and the SQL for their state.
    pub fn caller(&self, name: &str) -> (Option<Person>, String) {
        let Self {
            team, creator, other, ..
        } = self;
        let unchanged = String::new();
        match name {
            "none" => (None, unchanged),
            "unregistered" => (Some(Person::stranger("nobody")), unchanged),
            "invited" => (Some(self.invited.clone()), unchanged),
            "member" => (Some(team.member.clone()), unchanged),
            "colleague" => {
                let created = format!("UPDATE meetings SET created_by = '{}'", team.member.id);
                (
                    Some(creator.clone()),
                    format!("{created} WHERE id = '{}'", self.own["meetings"]),
                )
            }
            "creator" => (Some(creator.clone()), unchanged),
            "former member" => (Some(team.member.clone()), leads_again(&team.member)),
            "former creator" => (Some(creator.clone()), joins(creator, &other.admin)),
            "admin" => (Some(team.admin.clone()), unchanged),
            "other admin" => (Some(other.admin.clone()), unchanged),
            "other member" => (Some(other.member.clone()), unchanged),
            _ => panic!("{name} is no caller"),
        }
    }
}

/// Returns the SQL by which a person leads an empty team.
pub fn leads_again(person: &Person) -> String {
    let sub = &person.sub;
    format!("UPDATE users SET role = 'admin', admin_id = NULL WHERE clerk_id = '{sub}'")
}

/// Returns the SQL by which a person is on the team of an admin.
pub fn joins(person: &Person, admin: &Person) -> String {
    let (sub, admin) = (&person.sub, admin.id);
    format!("UPDATE users SET role = 'user', admin_id = '{admin}' WHERE clerk_id = '{sub}'")
}
