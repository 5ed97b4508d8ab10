//! The clients' operations: one for each route, chosen at random from the client's own seed.
//!
//! Each records how an acknowledged write changes the team and what an unknown outcome makes uncertain, and compares
//! every read with the known state.

mod twins;
mod writes;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::client::{Asked, Call, Client};
use super::run::LoadClient;
use super::team::{Invited, Meeting, RecordedWrite, Task, WriteEffect, WriteOutcome};
use super::testbed::WEBHOOK_SECRET;

/// The requests of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// All routes.
    Everything,
    /// Writes of all kinds.
    Writes,
    /// Only `GET /api/meetings/{id}`, which other designs serve too.
    Get,
    /// Only `PUT /api/meetings/{id}`.
    Update,
    /// Both, equally often.
    GetAndUpdate,
    /// Writes that are refused because of their content: an `If-Match` of another version, a meeting that does not
    /// exist.
    Refusals,
    /// Meetings, each created by two environments at once under one key.
    Twins,
}

/// The functions that serve the requests of all workloads; the others need not be built.
pub const FUNCTIONS: [&str; 20] = [
    "health",
    "invitations-accept",
    "invitations-cancel",
    "invitations-create",
    "meetings-changes",
    "meetings-create",
    "meetings-delete",
    "meetings-get",
    "meetings-list",
    "meetings-update",
    "meetings-webhook",
    "tasks-all",
    "tasks-approve",
    "tasks-create",
    "tasks-delete",
    "tasks-list",
    "tasks-update",
    "team-remove",
    "users-me",
    "users-register",
];

/// No client creates more, so that each list fits one page.
const MEETINGS: usize = 60;
const TASKS: usize = 90;

impl Client {
    /// Registers the client as an admin and creates a first meeting, so that there is something to read.
    pub(super) async fn settle_in(&mut self) -> Result<()> {
        let sub = format!("admin-{}", self.number);
        self.team.admin_sub = sub.clone();
        match self.register(&sub, &format!("{sub}@example.com")).await? {
            Some(answer) => self.team.admin = answer.text("id").to_owned(),
            None => self.wrong("could not register"),
        }
        self.create_meeting().await
    }

    /// Performs one operation of this kind.
    async fn operation(&mut self, kind: Workload) -> Result<()> {
        let chance = match kind {
            Workload::Everything => self.random.u32(0..100),
            Workload::Writes => self.random.u32(45..100),
            Workload::Get => return self.get_meeting().await,
            Workload::Update => return self.update_meeting().await,
            Workload::GetAndUpdate if self.random.bool() => return self.get_meeting().await,
            Workload::GetAndUpdate => return self.update_meeting().await,
            Workload::Refusals => return self.be_refused().await,
            Workload::Twins => return self.create_twice_at_once().await,
        };
        match chance {
            0..12 => self.get_meeting().await,
            12..20 => self.list_meetings().await,
            20..26 => self.list_changes().await,
            26..32 => self.list_tasks().await,
            32..38 => self.all_tasks().await,
            38..42 => self.me().await,
            42..45 => self.health().await,
            45..58 => self.create_meeting().await,
            58..68 => self.update_meeting().await,
            68..71 => self.delete_meeting().await,
            71..80 => self.create_task().await,
            80..85 => self.update_task().await,
            85..88 => self.approve_task().await,
            88..90 => self.delete_task().await,
            90..93 => self.invite().await,
            93..95 => self.join_invited().await,
            _ => self.deliver().await,
        }
    }

    /// Requests a meeting in `environments` new environments at once, then `requests` more times in all of them.
    async fn cold_starts(&mut self, environments: usize, requests: usize) -> Result<()> {
        let Some(id) = self.any_meeting() else { return Ok(()) };
        let call = self.call("GET", format!("/api/meetings/{id}"), &[200]);
        let mut sending = JoinSet::new();
        for number in 0..environments {
            let mut one = Self::new(number, self.random.u64(..), &self.testbed, &self.history);
            let call = call.clone();
            let team = self.team.clone();
            let id = id.clone();
            sending.spawn(async move {
                one.team = team;
                if let Some(answer) = one.send_cold(&call).await? {
                    one.compare_meeting(&id, &answer);
                }
                anyhow::Ok(one)
            });
        }
        let all = joined(sending).await?;
        let mut sending = JoinSet::new();
        for mut one in all {
            let call = call.clone();
            let id = id.clone();
            sending.spawn(async move {
                for _ in 0..requests {
                    if let Some(answer) = one.read(call.clone()).await? {
                        one.compare_meeting(&id, &answer);
                    }
                }
                anyhow::Ok(one)
            });
        }
        for one in joined(sending).await? {
            self.wrong.extend(one.wrong);
        }
        Ok(())
    }

    /// Returns a request as the admin.
    fn call(&self, method: &'static str, path: impl Into<String>, good: &'static [u16]) -> Call {
        let sub = &self.team.admin_sub;
        Call::new(method, path, good).by(sub, &format!("{sub}@example.com"))
    }

    /// Returns a meeting whose state is certain.
    fn any_meeting(&mut self) -> Option<String> {
        let known: Vec<&String> = self.team.meetings.keys().filter(|id| self.team.knows(id)).collect();
        (!known.is_empty()).then(|| known[self.random.usize(0..known.len())].clone())
    }

    /// Returns a task of a meeting whose state is certain.
    fn any_task(&mut self, wanted: impl Fn(&Task) -> bool) -> Option<(String, String)> {
        let meetings = self.team.meetings.iter().filter(|(id, _)| self.team.knows(id));
        let tasks: Vec<(&String, &String)> = meetings
            .flat_map(|(meeting, it)| {
                it.tasks
                    .iter()
                    .filter(|(_, task)| wanted(task))
                    .map(move |(id, _)| (meeting, id))
            })
            .collect();
        let chosen = (!tasks.is_empty()).then(|| tasks[self.random.usize(0..tasks.len())])?;
        Some((chosen.0.clone(), chosen.1.clone()))
    }

    fn record_write(&mut self, marker: &str, effect: WriteEffect, asked: &Asked) {
        let outcome = match asked {
            Asked::Answered(_) => WriteOutcome::Done,
            Asked::Given(outcome) => *outcome,
        };
        self.writes.push(RecordedWrite {
            marker: marker.to_owned(),
            effect,
            outcome,
        });
    }

    /// Sends a write that changes one meeting: `apply` if it was acknowledged; if its outcome is unknown, the meeting
    /// becomes uncertain.
    async fn change(
        &mut self,
        id: &str,
        key: &str,
        call: Call,
        apply: impl FnOnce(&mut Self, &Answer),
    ) -> Result<Asked> {
        let asked = self.write(key, call.clone()).await?;
        match &asked {
            Asked::Answered(answer) => {
                apply(self, answer);
                // Sometimes the answer is lost on its way, and the client retries.
                if self.random.u8(0..8) == 0 {
                    match self.repeat(key, call).await? {
                        // Not every replay is marked: a request whose own reply was lost cannot tell whose the receipt
                        // is.
                        Asked::Answered(again) if again.body == answer.body => {}
                        Asked::Answered(_) => self.wrong(format!("{key}: repeated, and not replayed")),
                        Asked::Given(_) => {}
                    }
                }
            }
            Asked::Given(WriteOutcome::Unknown) => {
                self.team.in_doubt.insert(id.to_owned());
            }
            Asked::Given(WriteOutcome::Done | WriteOutcome::Absent) => {}
        }
        Ok(asked)
    }

    // Reads.

    async fn get_meeting(&mut self) -> Result<()> {
        let Some(id) = self.any_meeting() else {
            return self.create_meeting().await;
        };
        let call = self.call("GET", format!("/api/meetings/{id}"), &[200]);
        if let Some(answer) = self.read(call).await? {
            self.compare_meeting(&id, &answer);
        }
        Ok(())
    }

    /// Compares the requested meeting with the known one.
    fn compare_meeting(&mut self, id: &str, answer: &Answer) {
        let Some(known) = self.team.meetings.get(id) else {
            return;
        };
        let version = answer.header("etag").unwrap_or_default().trim_matches('"');
        let version = version.parse().unwrap_or(0_u64);
        let transcript = answer.body.get("transcript").and_then(Value::as_str);
        let right = (answer.text("id"), answer.text("title"), version, transcript)
            == (id, &*known.title, known.version, known.transcript.as_deref());
        if !right {
            let said = format!(
                "asked for {id}, read {} at version {version}, knew {known:?}",
                answer.body
            );
            self.wrong_read(said);
        }
    }

    async fn list_meetings(&mut self) -> Result<()> {
        let call = self.call("GET", "/api/meetings?limit=100", &[200]);
        if let Some(answer) = self.read(call).await? {
            let listed = by_id(&answer, "title");
            let known = self.team.meetings.iter().filter(|(id, _)| self.team.knows(id));
            let known: Vec<_> = known.map(|(id, meeting)| (id.clone(), meeting.title.clone())).collect();
            self.compare("meetings-list", listed, known, |team, id| !team.more && team.knows(id));
        }
        Ok(())
    }

    async fn list_changes(&mut self) -> Result<()> {
        let Some(id) = self.any_meeting() else {
            return self.create_meeting().await;
        };
        let call = self.call("GET", format!("/api/meetings/{id}/changes?limit=100"), &[200]);
        if let Some(answer) = self.read(call).await? {
            let known = &self.team.meetings[&id];
            let newest = answer
                .items()
                .first()
                .and_then(|change| change.get("newTitle"))
                .and_then(Value::as_str);
            let right =
                answer.items().len() == known.changes.min(100) && (known.changes == 0 || newest == Some(&known.title));
            if !right {
                let said = format!(
                    "read {} changes, the newest to {newest:?}, knew {known:?}",
                    answer.items().len()
                );
                self.wrong_read(said);
            }
        }
        Ok(())
    }

    async fn list_tasks(&mut self) -> Result<()> {
        let Some(id) = self.any_meeting() else {
            return self.create_meeting().await;
        };
        let call = self.call("GET", format!("/api/meetings/{id}/tasks"), &[200]);
        if let Some(answer) = self.read(call).await? {
            let tasks = &self.team.meetings[&id].tasks;
            let known: Vec<_> = tasks.iter().map(|(id, task)| (id.clone(), task.text.clone())).collect();
            self.compare("tasks-list", by_id(&answer, "text"), known, |_, _| true);
        }
        Ok(())
    }

    async fn all_tasks(&mut self) -> Result<()> {
        let call = self.call("GET", "/api/meetings/tasks/all?limit=100", &[200]);
        if let Some(answer) = self.read(call).await? {
            let known = self.team.meetings.iter().filter(|(id, _)| self.team.knows(id));
            let known: Vec<_> = known
                .flat_map(|(_, meeting)| meeting.tasks.iter().map(|(id, task)| (id.clone(), task.text.clone())))
                .collect();
            let certain = self.team.in_doubt.is_empty() && !self.team.more;
            self.compare("tasks-all", by_id(&answer, "text"), known, |_, _| certain);
        }
        Ok(())
    }

    /// Everything known must be in the list as known; everything else in the list must be uncertain.
    fn compare(
        &mut self,
        what: &str,
        listed: Vec<(String, String)>,
        known: Vec<(String, String)>,
        certain: impl Fn(&super::team::Team, &str) -> bool,
    ) {
        let missing: Vec<_> = known.iter().filter(|pair| !listed.contains(pair)).collect();
        let extra: Vec<_> = listed
            .iter()
            .filter(|pair| !known.contains(pair) && certain(&self.team, &pair.0))
            .collect();
        if !missing.is_empty() || !extra.is_empty() {
            self.wrong_read(format!("{what} without {missing:?}, with {extra:?}"));
        }
    }

    async fn me(&mut self) -> Result<()> {
        let call = self.call("GET", "/api/users/me", &[200]);
        if let Some(answer) = self.read(call).await?
            && answer.text("id") != self.team.admin
        {
            self.wrong(format!("users-me is {}", answer.body));
        }
        Ok(())
    }

    async fn health(&mut self) -> Result<()> {
        // 503 is its answer to an outage, and is not a problem document.
        let call = Call::new("GET", "/api/health", &[200, 503]);
        if let Some(answer) = self.read(call).await? {
            let right = match answer.status {
                200 => ["ok", "degraded"].contains(&answer.text("status")),
                _ => answer.text("status") == "down",
            };
            if !right {
                self.wrong(format!("health said {} with {}", answer.body, answer.status));
            }
        }
        Ok(())
    }
}

impl LoadClient for Client {
    async fn act(&mut self, kind: Workload) -> Result<()> {
        self.operation(kind).await
    }

    async fn pause(&mut self) {
        self.rest().await;
    }

    async fn burst(&mut self, environments: usize, requests: usize) -> Result<()> {
        self.cold_starts(environments, requests).await
    }
}

/// Returns the items of a list: their ids, and one member of each.
fn by_id(answer: &Answer, member: &str) -> Vec<(String, String)> {
    let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    answer
        .items()
        .iter()
        .map(|item| (text(item, "id"), text(item, member)))
        .collect()
}

/// Waits for all clients.
pub(super) async fn joined<C: 'static>(mut sending: JoinSet<Result<C>>) -> Result<Vec<C>> {
    let mut all = Vec::new();
    while let Some(one) = sending.join_next().await {
        all.push(one??);
    }
    Ok(all)
}
