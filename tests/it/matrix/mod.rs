//! The authorisation matrix: each operation of `openapi.json` by each kind of caller, and with each id that leads
//! nowhere. An operation without a row here fails.
//!
//! | file | purpose |
//! |---|---|
//! | [`expected`] | the expectations: statuses, counts, and the rows that a write changes |
//! | [`operations`] | the operations of `openapi.json`, and the ids of their paths |
//! | [`others`] | the requests besides those of the table |
//! | [`scene`] | the rows and the callers |
//!
//! Every request starts from the same rows, which are restored after a request that changed them. `predicates` asks
//! [`Matrix::check`] whether the expectations notice that a statement lacks one of its conditions.

mod expected;
mod operations;
mod others;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::answer::Answer;
use super::backend::{Backend, Rows};
use super::people::Person;
use expected::{Row, allowed, changed_tables, counted, rows, shows_texts};
use operations::Operation;
use scene::{CALLERS, MARKERS, Scene, joins, readable};

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// The requests of every operation, on prepared rows.
pub struct Matrix {
    scene: Scene,
    operations: BTreeMap<String, Operation>,
    rows: Vec<Row>,
}

impl Matrix {
    /// Prepares the rows, and keeps a copy of them.
    pub async fn prepared(backend: &Backend) -> Self {
        let scene = Scene::prepared(backend).await;
        backend.keep().await;
        Self {
            operations: operations::described(),
            rows: rows(&scene),
            scene,
        }
    }

    /// Returns every operation.
    pub fn operations(&self) -> Vec<&'static str> {
        self.rows.iter().map(|row| row.operation).collect()
    }

    /// Sends every request of an operation, and restores the rows.
    ///
    /// # Errors
    /// Fails at the first whose outcome is not the expected one.
    pub async fn check(&self, backend: &Backend, operation: &str) -> Result<(), String> {
        let row = self.rows.iter().find(|row| row.operation == operation).unwrap();
        let outcome = self.every_request(backend, row).await;
        backend.restore().await;
        outcome
    }

    async fn every_request(&self, backend: &Backend, row: &Row) -> Result<(), String> {
        // Those first who should get the least.
        for name in CALLERS.into_iter().rev() {
            let (_, change) = self.scene.caller(name);
            backend.execute(&change).await;
            let before = backend.rows().await;
            let changed = self.cell(backend, row, name, &before).await?;
            if changed || !change.is_empty() {
                backend.restore().await;
            }
        }
        self.wrong_ids(backend, row).await?;
        self.foreign(backend, row).await?;
        self.replays(backend, row).await
    }

    async fn send(&self, backend: &Backend, row: &Row, path: &str, by: Option<&Person>) -> Answer {
        self.request(backend, row, path, row.body.as_ref(), by, None).await
    }

    async fn request(
        &self,
        backend: &Backend,
        row: &Row,
        path: &str,
        body: Option<&Value>,
        by: Option<&Person>,
        key: Option<&str>,
    ) -> Answer {
        let mut call = backend.call(self.operations[row.operation].method, path);
        if let Some(person) = by {
            call = call.by(person);
        }
        if let Some(key) = key {
            call = call.key(key);
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        let (function, event) = call.event();
        // Without a token the gateway refuses; what the function would say is the same.
        backend.send(&function, event, false).await
    }

    /// Sends a caller's request. Returns whether it changed rows.
    async fn cell(&self, backend: &Backend, row: &Row, name: &str, before: &Rows) -> Result<bool, String> {
        let (caller, change) = self.scene.caller(name);
        let path = self.scene.path(&self.operations[row.operation]);
        let answer = self.send(backend, row, &path, caller.as_ref()).await;
        let (status, operation) = (answer.status, row.operation);
        let told = || format!("{operation} by {name}: {status} {}", answer.body);
        demand(status == row.status(name), told)?;
        let described = self.operations[operation].statuses.contains(&status.to_string());
        demand(described, || format!("{} is not described", told()))?;
        reads_only(&answer, readable(name))?;
        if status < 300 {
            shows(&answer, &counted(operation, name))?;
            let texts = shows_texts(operation) && readable(name).contains(&"Secret");
            demand(!texts || answer.body.contains("Secret"), told)?;
            let member = self.scene.own["users"].to_string();
            let others = |item: &Value| item["teamMemberId"] != member.as_str();
            demand(
                operation != "meetings-by-member" || !answer.items().iter().any(others),
                told,
            )?;
        }
        let after = backend.rows().await;
        let tables = if status < 300 { changed_tables(operation) } else { &[] };
        let excess = excess(tables, before, &after);
        demand(excess.is_none(), || format!("{} changed {excess:?}", told()))?;
        let changed = after != *before;
        // The SQL of a caller's state sets no time.
        let stale = changed && change.is_empty() && backend.changed_without_time().await > 0;
        demand(!stale, || format!("{} left `updated_at`", told()))?;
        Ok(changed)
    }

    /// Each id of a path is replaced by an unknown one, by another team's, and by one that does not belong to the rest
    /// of the path. The caller has the permission for the right ids. Returns the number of requests.
    async fn wrong_ids(&self, backend: &Backend, row: &Row) -> Result<usize, String> {
        let operation = &self.operations[row.operation];
        let collections = operation.collections();
        let (caller, _) = self.scene.caller(allowed(row));
        let (before, mut tried) = (backend.rows().await, 0);
        for (place, of) in collections.iter().enumerate() {
            let mut wrong = vec![Uuid::now_v7(), self.scene.others[of]];
            if collections.len() > 1 {
                wrong.push(self.scene.beside[of]);
                wrong.extend(self.scene.strays.get(of));
            }
            let mut absent = None;
            for (number, other) in wrong.into_iter().enumerate() {
                let mut ids: Vec<_> = collections.iter().map(|of| self.scene.own[of]).collect();
                ids[place] = other;
                let path = operation.filled(&ids);
                let answer = self.send(backend, row, &path, caller.as_ref()).await;
                let told = || format!("{} {path}: {} {}", row.operation, answer.status, answer.body);
                demand(answer.status == 404, told)?;
                // Another team's is answered as one that does not exist.
                let detail = answer.json()["detail"].clone();
                demand(number > 1 || *absent.get_or_insert(detail.clone()) == detail, told)?;
                tried += 1;
            }
        }
        demand(backend.rows().await == before, || {
            format!("{} wrote something", row.operation)
        })?;
        Ok(tried)
    }

    /// As [`wrong_ids`](Self::wrong_ids), by every caller, for a path of two ids: no caller learns from the answer whether
    /// the row of a wrong id exists.
    async fn wrong_nested_ids(&self, backend: &Backend, row: &Row, name: &str) -> Result<usize, String> {
        let operation = &self.operations[row.operation];
        let collections = operation.collections();
        if collections.len() < 2 {
            return Ok(0);
        }
        let (caller, _) = self.scene.caller(name);
        let on_the_other_team = ["other admin", "other member", "former creator"].contains(&name);
        let (before, mut tried) = (backend.rows().await, 0);
        for (place, of) in collections.iter().enumerate() {
            let mut wrong = vec![self.scene.others[of]];
            if place == 0 && on_the_other_team {
                wrong.clear();
            }
            if place > 0 {
                wrong.push(self.scene.beside[of]);
                wrong.extend(self.scene.strays.get(of));
            }
            let mut unknown = None;
            for other in [vec![Uuid::now_v7()], wrong].concat() {
                let mut ids: Vec<_> = collections.iter().map(|of| self.scene.own[of]).collect();
                ids[place] = other;
                let path = operation.filled(&ids);
                let answer = self.send(backend, row, &path, caller.as_ref()).await;
                let told = || format!("{} {path} by {name}: {} {}", row.operation, answer.status, answer.body);
                let outcome = (answer.status, answer.json()["detail"].clone());
                demand([401, 403, 404].contains(&answer.status), told)?;
                demand(*unknown.get_or_insert(outcome.clone()) == outcome, told)?;
                reads_only(&answer, readable(name))?;
                tried += 1;
            }
        }
        demand(backend.rows().await == before, || {
            format!("{} by {name} wrote something", row.operation)
        })?;
        Ok(tried)
    }

    /// Sends the other requests of an operation: most name a person of another team.
    async fn foreign(&self, backend: &Backend, row: &Row) -> Result<(), String> {
        for request in others::of(&self.scene, row.operation, &self.operations[row.operation]) {
            backend.execute(&request.change).await;
            let before = backend.rows().await;
            let (by, _) = self.scene.caller(request.by);
            let sent = self.request(backend, row, &request.path, request.body.as_ref(), by.as_ref(), None);
            let answer = sent.await;
            let after = backend.rows().await;
            backend.restore().await;
            let told = || format!("{} {}: {} {}", row.operation, request.path, answer.status, answer.body);
            demand(answer.status == request.status, told)?;
            shows(&answer, &request.shown)?;
            let tables = if answer.status < 300 {
                changed_tables(row.operation)
            } else {
                &[]
            };
            let excess = excess(tables, &before, &after);
            demand(excess.is_none(), || format!("{} changed {excess:?}", told()))?;
            // An invitation repeats the address that was given.
            if answer.status != 201 {
                reads_only(&answer, readable(request.by))?;
            }
        }
        Ok(())
    }

    /// Sends a keyed write and its replays: at once, after the caller was put on the third team, and after their account
    /// is gone.
    async fn replays(&self, backend: &Backend, row: &Row) -> Result<(), String> {
        let name = allowed(row);
        let (Some(caller), false) = (self.scene.caller(name).0, changed_tables(row.operation).is_empty()) else {
            return Ok(());
        };
        // Suggestions are only made for a meeting without some.
        if row.operation == "tasks-suggest" {
            let decide = format!(
                "UPDATE tasks SET status = 'incomplete' WHERE id = '{}'",
                self.scene.own["tasks"]
            );
            backend.execute(&decide).await;
        }
        let send = async || {
            let path = self.scene.path(&self.operations[row.operation]);
            let sent = self.request(backend, row, &path, row.body.as_ref(), Some(&caller), Some("key"));
            sent.await
        };
        let first = send().await;
        let told =
            |what: &str, answer: &Answer| format!("{what} of {}: {} {}", row.operation, answer.status, answer.body);
        demand(first.status < 300, || told("keyed request", &first))?;
        let again = send().await;
        let replayed = again.header("idempotency-replayed") == Some("true") && again.status == first.status;
        demand(replayed, || told("replay", &again))?;
        reads_only(&again, readable(name))?;
        if first.status != 204 {
            demand(first.json()["id"] == again.json()["id"], || told("replay", &again))?;
            shows(&again, &counted(row.operation, name))?;
            // Of an invitation it is shown once.
            demand(again.json()["token"].is_null(), || told("replay", &again))?;
        }
        let before = backend.rows().await;
        // The remaining rows decide about the replay of a deletion.
        let without_access = match row.operation {
            "users-leave" | "users-register" | "invitations-decline" => first.status,
            "meetings-delete" | "invitations-cancel" | "team-remove" => 403,
            _ => 404,
        };
        let own = caller.email.trim_end_matches("example.com").to_owned();
        let gone = format!(
            "UPDATE users SET clerk_id = 'deleted' WHERE clerk_id = '{}'",
            caller.sub
        );
        for (change, status) in [(joins(&caller, &self.scene.third), without_access), (gone, 401)] {
            backend.execute(&change).await;
            let answer = send().await;
            demand(answer.status == status, || told("replay without access", &answer))?;
            reads_only(&answer, &[&own])?;
        }
        let after = backend.rows().await;
        let mut changed = before.symmetric_difference(&after);
        let wrote = || format!("replays of {} wrote something", row.operation);
        demand(changed.all(|(table, _)| table == "users"), wrote)?;
        backend.restore().await;
        Ok(())
    }
}

/// Fails if an answer contains a marker other than these.
fn reads_only(answer: &Answer, readable: &[&str]) -> Result<(), String> {
    let told = MARKERS
        .iter()
        .find(|marker| !readable.contains(marker) && answer.body.contains(**marker));
    demand(told.is_none(), || {
        format!("{} tells {told:?}: {}", answer.function, answer.body)
    })
}

/// Fails unless the answer has these members.
fn shows(answer: &Answer, members: &Value) -> Result<(), String> {
    for (name, value) in members.as_object().into_iter().flatten() {
        let shown = answer.json()[name] == *value;
        demand(shown, || {
            format!("{} has another {name}: {}", answer.function, answer.body)
        })?;
    }
    Ok(())
}

/// Returns a row that was removed or added besides one for each of these tables, and one receipt with its record.
fn excess(tables: &[&str], before: &Rows, after: &Rows) -> Option<(String, String)> {
    let mut expected = tables.to_vec();
    if !tables.is_empty() {
        expected.extend(["receipts", "audit"]);
    }
    [(before, after), (after, before)].into_iter().find_map(|(one, two)| {
        let mut left = expected.clone();
        let mut rows = one.difference(two);
        let in_excess = |(table, _): &&(String, String)| {
            let place = left.iter().position(|expected| expected == table);
            place.map(|place| left.swap_remove(place)).is_none()
        };
        rows.find(in_excess).cloned()
    })
}

#[tokio::test]
async fn every_caller_gets_their_answer() {
    let backend = Backend::start().await;
    let matrix = Matrix::prepared(&backend).await;
    let described: BTreeSet<&str> = matrix.operations.keys().map(String::as_str).collect();
    let tried: BTreeSet<&str> = matrix.operations().into_iter().collect();
    assert_eq!(
        (tried, matrix.rows.len()),
        (described, matrix.operations.len()),
        "every operation needs one row"
    );
    for name in CALLERS {
        let (_, change) = matrix.scene.caller(name);
        backend.execute(&change).await;
        let mut before = backend.rows().await;
        for row in &matrix.rows {
            if matrix.cell(&backend, row, name, &before).await.unwrap() {
                backend.restore().await;
                backend.execute(&change).await;
                before = backend.rows().await;
            }
        }
        backend.restore().await;
    }
}

#[tokio::test]
async fn wrong_ids_are_not_found() {
    let backend = Backend::start().await;
    let matrix = Matrix::prepared(&backend).await;
    let mut tried = 0;
    for row in &matrix.rows {
        tried += matrix.wrong_ids(&backend, row).await.unwrap();
    }
    assert!(tried >= 72, "only {tried}");
}

#[tokio::test]
async fn wrong_nested_ids_look_unknown() {
    let backend = Backend::start().await;
    let matrix = Matrix::prepared(&backend).await;
    let mut tried = 0;
    for name in CALLERS {
        let (_, change) = matrix.scene.caller(name);
        backend.execute(&change).await;
        for row in &matrix.rows {
            tried += matrix.wrong_nested_ids(&backend, row, name).await.unwrap();
        }
        backend.restore().await;
    }
    assert!(tried >= 300, "only {tried}");
}

#[tokio::test]
async fn foreign_people_are_refused() {
    let backend = Backend::start().await;
    let matrix = Matrix::prepared(&backend).await;
    for row in &matrix.rows {
        matrix.foreign(&backend, row).await.unwrap();
    }
}

/// A replay shows nothing to a caller without access.
#[tokio::test]
async fn replays_are_authorised_again() {
    let backend = Backend::start().await;
    let matrix = Matrix::prepared(&backend).await;
    for row in &matrix.rows {
        matrix.replays(&backend, row).await.unwrap();
    }
}
