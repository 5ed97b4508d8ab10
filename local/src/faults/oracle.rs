//! Holds what clients were told against what the tables hold, once the load is over and the database is well.
//!
//! Every acknowledged write is there exactly once, every refused one is absent, every unknown one is there once or
//! absent. And nothing is left behind: no transaction, no lock, and no session once the environments are shut down.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use sqlx::{AssertSqlSafe, PgConnection};

use super::client::Client;
use super::fault::SESSIONS;
use super::scene::Scene;
use super::team::{Deed, Fate, Team, Trace};

/// `idle_in_transaction_session_timeout`, statement timeouts and the server's own clean-up fit into this.
const LEFT_BEHIND: Duration = Duration::from_secs(20);

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged writes that are not there.
    pub lost: usize,
    /// Writes that are there more than once.
    pub duplicated: usize,
    /// Each contradiction, in words.
    pub wrong: Vec<String>,
}

impl Verdict {
    fn lose(&mut self, what: String) {
        self.lost += 1;
        self.wrong.push(format!("lost: {what}"));
    }

    fn duplicate(&mut self, what: String) {
        self.duplicated += 1;
        self.wrong.push(format!("duplicated: {what}"));
    }
}

/// How often something is there, by a meeting's id, or the empty string, and a marker.
type Counts = HashMap<(String, String), i64>;

struct Row {
    title: String,
    version: i32,
    transcript: Option<String>,
}

/// Compares every client's knowledge with the tables.
///
/// # Errors
/// The tables cannot be read.
pub(super) async fn compare(scene: &Scene, clients: &mut [Client]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut direct = scene.direct().await?;
    let rows = sqlx::query_as::<_, (String, String, i32, Option<String>)>(
        "SELECT id::text, title, version, transcript FROM meetings",
    );
    let rows: HashMap<String, Row> = rows
        .fetch_all(&mut direct)
        .await?
        .into_iter()
        .map(|(id, title, version, transcript)| {
            (
                id,
                Row {
                    title,
                    version,
                    transcript,
                },
            )
        })
        .collect();
    let tasks = sqlx::query_as::<_, (String, String, String)>("SELECT id::text, text, status FROM tasks");
    let tasks: HashMap<String, (String, String)> = tasks
        .fetch_all(&mut direct)
        .await?
        .into_iter()
        .map(|(id, text, status)| (id, (text, status)))
        .collect();
    let counted = Counted {
        meetings: counts(&mut direct, "SELECT '', agenda, count(*) FROM meetings GROUP BY agenda").await?,
        changes: counts(
            &mut direct,
            "SELECT meeting_id::text, new_title, count(*) FROM meeting_changes GROUP BY meeting_id, new_title",
        )
        .await?,
        tasks: counts(
            &mut direct,
            "SELECT meeting_id::text, reasoning, count(*) FROM tasks GROUP BY 1, 2",
        )
        .await?,
        invitations: counts(
            &mut direct,
            "SELECT '', email, count(*) FROM invitations GROUP BY email",
        )
        .await?,
        users: counts(
            &mut direct,
            "SELECT '', clerk_id, count(*) FROM users GROUP BY clerk_id",
        )
        .await?,
    };
    for client in clients {
        deeds(&client.team, &client.deeds, &counted, &mut verdict);
        for (id, known) in client.team.meetings.iter().filter(|(id, _)| client.team.knows(id)) {
            let Some(row) = rows.get(id) else {
                verdict.lose(format!("meeting {id}: {known:?}"));
                continue;
            };
            let version = u64::try_from(row.version).unwrap_or_default();
            if version < known.version || row.title != known.title || row.transcript != known.transcript {
                verdict.lose(format!(
                    "a change of meeting {id}: {:?} at {version}, known {known:?}",
                    row.title
                ));
            } else if version > known.version {
                verdict.duplicate(format!("a change of meeting {id}: at {version}, known {known:?}"));
            }
            for (task, known) in &known.tasks {
                match tasks.get(task) {
                    Some((text, status)) if (text, status) == (&known.text, &known.status) => {}
                    found => verdict.lose(format!("task {task}: {found:?}, known {known:?}")),
                }
            }
        }
        verdict.wrong.append(&mut client.wrong);
    }
    Ok(verdict)
}

#[derive(Default)]
struct Counted {
    meetings: Counts,
    changes: Counts,
    tasks: Counts,
    invitations: Counts,
    users: Counts,
}

/// Counts what each write left, unless what it belonged to was deleted since.
fn deeds(team: &Team, deeds: &[Deed], counted: &Counted, verdict: &mut Verdict) {
    for deed in deeds {
        let (counts, meeting) = match &deed.trace {
            Trace::Meeting => (&counted.meetings, None),
            Trace::Change(meeting) => (&counted.changes, Some(meeting)),
            Trace::Task(meeting) => (&counted.tasks, Some(meeting)),
            Trace::Invitation => (&counted.invitations, None),
            Trace::User => (&counted.users, None),
        };
        let key = (meeting.cloned().unwrap_or_default(), deed.marker.clone());
        let found = counts.get(&key).copied().unwrap_or_default();
        // A task may have been deleted since, and so may a meeting: what is still known was compared by its id.
        let may_be_gone = matches!(deed.trace, Trace::Meeting | Trace::Task(_))
            || meeting.is_some_and(|meeting| !team.knows(meeting) || !team.meetings.contains_key(meeting));
        match (deed.fate, found) {
            (_, 2..) => verdict.duplicate(format!("{deed:?} is there {found} times")),
            (Fate::Done, 0) if !may_be_gone => verdict.lose(format!("{deed:?}")),
            (Fate::Absent, 1) => verdict.wrong.push(format!("refused, and there: {deed:?}")),
            (Fate::Done | Fate::Absent | Fate::Unknown, _) => {}
        }
    }
}

async fn counts(direct: &mut PgConnection, sql: &str) -> Result<Counts> {
    let rows = sqlx::query_as::<_, (String, Option<String>, i64)>(AssertSqlSafe(sql.to_owned()));
    let rows = rows.fetch_all(direct).await?;
    Ok(rows
        .into_iter()
        .map(|(scope, marker, count)| ((scope, marker.unwrap_or_default()), count))
        .collect())
}

/// Looks for what the fleet left behind: first while its environments are frozen, then after they were shut down.
///
/// # Errors
/// The server cannot be asked.
pub(super) async fn left_behind(scene: &Scene) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let at_rest = [
        (
            "transactions",
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fleet' AND xact_start IS NOT NULL",
        ),
        (
            "locks",
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'fleet' \
             AND l.locktype <> 'virtualxid'",
        ),
        ("prepared transactions", "SELECT count(*) FROM pg_prepared_xacts"),
    ];
    for (what, sql) in at_rest {
        if let Err(error) = scene.falls_to(0, sql, LEFT_BEHIND).await {
            left.push(format!("left behind: {what}: {error:#}"));
        }
    }
    scene.lambda.shutdown().await;
    // What fell silent stays so until the server notices, which is measured where environments are lost; here the
    // network comes back and says that nobody is there.
    scene.proxy.reset();
    if scene.has_pooler() {
        return Ok(left);
    }
    if let Err(error) = scene.falls_to(0, SESSIONS, LEFT_BEHIND).await {
        left.push(format!(
            "left behind: sessions of environments that were shut down: {error:#}"
        ));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::super::team::Meeting;
    use super::*;

    /// What is found of one write of this fate that is there so often.
    fn judged(trace: Trace, fate: Fate, found: i64) -> Verdict {
        let known = ("m".to_owned(), Meeting::default());
        let team = Team {
            meetings: [known].into(),
            ..Team::default()
        };
        let scope = if matches!(trace, Trace::Change(_)) { "m" } else { "" };
        let counts: Counts = [((scope.to_owned(), "1-1".to_owned()), found)].into();
        let counted = Counted {
            changes: counts.clone(),
            users: counts,
            ..Counted::default()
        };
        let deed = Deed {
            marker: "1-1".to_owned(),
            trace,
            fate,
        };
        let mut verdict = Verdict::default();
        deeds(&team, &[deed], &counted, &mut verdict);
        verdict
    }

    #[test]
    fn each_write_is_there_as_often_as_its_client_was_told() {
        for trace in [Trace::User, Trace::Change("m".to_owned())] {
            for (fate, found) in [
                (Fate::Done, 1),
                (Fate::Absent, 0),
                (Fate::Unknown, 0),
                (Fate::Unknown, 1),
            ] {
                assert_eq!(
                    judged(trace.clone(), fate, found),
                    Verdict::default(),
                    "{fate:?} {found}"
                );
            }
            assert_eq!(judged(trace.clone(), Fate::Done, 0).lost, 1);
            for fate in [Fate::Done, Fate::Absent, Fate::Unknown] {
                assert_eq!(judged(trace.clone(), fate, 2).duplicated, 1, "{fate:?}");
            }
            let refused = judged(trace, Fate::Absent, 1);
            assert_eq!((refused.lost, refused.duplicated, refused.wrong.len()), (0, 0, 1));
        }
    }

    #[test]
    fn what_went_with_its_meeting_is_not_lost() {
        assert_eq!(
            judged(Trace::Change("deleted".to_owned()), Fate::Done, 1),
            Verdict::default()
        );
    }
}
