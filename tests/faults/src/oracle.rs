//! Compares the clients' answers with the tables, after the load has ended and the database has recovered.
//!
//! A write is one statement: it is applied as a whole or not at all. Receipts are not checked: a write without effect
//! leaves none, and the client that requests a replay checks its answer.
//!
//! Every acknowledged write is there exactly once, or gone if it was a deletion; every refused one is absent, every
//! unknown one is there once or absent. And nothing is left behind: no transaction, no lock, and no session once the
//! environments are shut down.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use sqlx::{AssertSqlSafe, PgConnection};

use super::client::Client;
use super::fault::SESSIONS;
use super::team::{RecordedWrite, Team, WriteEffect, WriteOutcome};
use super::testbed::Testbed;

/// Longer than `idle_in_transaction_session_timeout`, statement timeouts and the server's own clean-up.
pub(super) const LEFT_BEHIND: Duration = Duration::from_secs(20);

/// Shorter than the server takes to end an idle transaction that a function has left open, and longer than for one
/// whose connection is closed.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// The result of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged writes that are missing.
    pub lost: usize,
    /// Writes that are there more than once.
    pub duplicated: usize,
    /// Each contradiction, described.
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

/// How often a row exists, by a meeting's id, or the empty string, and a marker.
type Counts = HashMap<(String, String), i64>;

/// The content of the tables.
#[derive(Default)]
struct Tables {
    meetings: HashMap<String, Row>,
    tasks: HashMap<String, Task>,
    /// The invited people who have registered, by their subjects.
    people: HashMap<String, Person>,
    counted: Counted,
}

#[derive(Clone, Copy)]
struct Person {
    /// Whether they are on the inviting team.
    joined: bool,
    /// Whether their invitation was accepted by them.
    accepted: bool,
}

struct Row {
    /// The admin whose team the meeting belongs to.
    team: String,
    title: String,
    version: i32,
    transcript: Option<String>,
}

struct Task {
    meeting: String,
    text: String,
    status: String,
}

#[derive(Default)]
struct Counted {
    meetings: Counts,
    changes: Counts,
    tasks: Counts,
    invitations: Counts,
    users: Counts,
}

/// Compares every client's knowledge with the tables.
///
/// # Errors
/// Fails if the tables cannot be read.
pub(super) async fn compare(testbed: &Testbed, clients: &mut [Client]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut direct = testbed.direct().await?;
    let tables = Tables::read(&mut direct).await?;
    for client in clients {
        tables.hold_against(&client.team, &client.writes, &mut verdict);
        verdict.wrong.append(&mut client.wrong);
    }
    Ok(verdict)
}

impl Tables {
    async fn read(direct: &mut PgConnection) -> Result<Self> {
        let meetings = sqlx::query_as::<_, (String, String, String, i32, Option<String>)>(
            "SELECT id::text, team_id::text, title, version, transcript FROM meetings",
        );
        let meetings = meetings.fetch_all(&mut *direct).await?.into_iter();
        let tasks = sqlx::query_as::<_, (String, String, String, String)>(
            "SELECT id::text, meeting_id::text, text, status FROM tasks",
        );
        let tasks = tasks.fetch_all(&mut *direct).await?.into_iter();
        // The subject of an invited person is the invitation's address.
        let people = sqlx::query_as::<_, (String, bool, bool)>(
            "SELECT u.clerk_id, coalesce(u.role = 'user' AND u.admin_id = i.admin_id, false), \
             coalesce(i.status = 'accepted' AND i.accepted_by = u.id, false) \
             FROM users u JOIN invitations i ON i.email = u.clerk_id",
        );
        let people = people.fetch_all(&mut *direct).await?;
        let counted = Counted {
            meetings: counts(direct, "SELECT '', agenda, count(*) FROM meetings GROUP BY agenda").await?,
            changes: counts(
                direct,
                "SELECT meeting_id::text, new_title, count(*) FROM meeting_changes GROUP BY meeting_id, new_title",
            )
            .await?,
            tasks: counts(
                direct,
                "SELECT meeting_id::text, reasoning, count(*) FROM tasks GROUP BY 1, 2",
            )
            .await?,
            invitations: counts(direct, "SELECT '', email, count(*) FROM invitations GROUP BY email").await?,
            users: counts(direct, "SELECT '', clerk_id, count(*) FROM users GROUP BY clerk_id").await?,
        };
        Ok(Self {
            meetings: meetings
                .map(|(id, team, title, version, transcript)| {
                    (
                        id,
                        Row {
                            team,
                            title,
                            version,
                            transcript,
                        },
                    )
                })
                .collect(),
            tasks: tasks
                .map(|(id, meeting, text, status)| (id, Task { meeting, text, status }))
                .collect(),
            people: people
                .into_iter()
                .map(|(sub, joined, accepted)| (sub, Person { joined, accepted }))
                .collect(),
            counted,
        })
    }

    /// Compares one client's knowledge.
    fn hold_against(&self, team: &Team, writes: &[RecordedWrite], verdict: &mut Verdict) {
        self.count(team, writes, verdict);
        for (sub, _) in &team.members {
            if !self.people.get(sub).is_some_and(|person| person.joined) {
                verdict.lose(format!("the acceptance of {sub}"));
            }
        }
        for (id, known) in team.meetings.iter().filter(|(id, _)| team.knows(id)) {
            let Some(row) = self.meetings.get(id) else {
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
                match self.tasks.get(task) {
                    Some(row) if row.meeting == *id && (&row.text, &row.status) == (&known.text, &known.status) => {}
                    Some(row) => verdict.lose(format!(
                        "a change of task {task}: {:?}, {:?}, known {known:?}",
                        row.text, row.status
                    )),
                    None => verdict.lose(format!("task {task}: {known:?}")),
                }
            }
            let tasks = self.tasks.iter().filter(|(_, task)| task.meeting == *id);
            for (task, _) in tasks.filter(|(task, _)| !known.tasks.contains_key(*task)) {
                verdict.lose(format!("the deletion of task {task}"));
            }
        }
        if team.more {
            return;
        }
        let rows = self.meetings.iter().filter(|(_, row)| row.team == team.admin);
        for (id, row) in rows.filter(|(id, _)| team.knows(id) && !team.meetings.contains_key(*id)) {
            verdict.lose(format!("the deletion of meeting {id}, {:?}", row.title));
        }
    }

    /// Counts the rows that each write left, unless their parent has been deleted since.
    fn count(&self, team: &Team, writes: &[RecordedWrite], verdict: &mut Verdict) {
        for write in writes {
            let (counts, meeting) = match &write.effect {
                WriteEffect::Meeting => (&self.counted.meetings, None),
                WriteEffect::Change(meeting) => (&self.counted.changes, Some(meeting)),
                WriteEffect::Task(meeting) => (&self.counted.tasks, Some(meeting)),
                WriteEffect::Invitation => (&self.counted.invitations, None),
                WriteEffect::User => (&self.counted.users, None),
            };
            let key = (meeting.cloned().unwrap_or_default(), write.marker.clone());
            let found = counts.get(&key).copied().unwrap_or_default();
            // A task or a meeting may have been deleted since: the remaining known ones are compared by their id.
            let may_be_gone = matches!(write.effect, WriteEffect::Meeting | WriteEffect::Task(_))
                || matches!(write.effect, WriteEffect::Invitation) && team.cancelled.contains_key(&write.marker)
                || meeting.is_some_and(|meeting| !team.knows(meeting) || !team.meetings.contains_key(meeting));
            match (write.outcome, found) {
                (_, 2..) => verdict.duplicate(format!("{write:?} is there {found} times")),
                (WriteOutcome::Done, 0) if !may_be_gone => verdict.lose(format!("{write:?}")),
                (WriteOutcome::Absent, 1) => verdict.wrong.push(format!("refused, and there: {write:?}")),
                (WriteOutcome::Done | WriteOutcome::Absent | WriteOutcome::Unknown, _) => {}
            }
            if matches!(write.effect, WriteEffect::Invitation)
                && found > 0
                && team.cancelled.get(&write.marker) == Some(&true)
            {
                verdict.lose(format!("the cancellation of {write:?}"));
            }
            let person = self.people.get(&write.marker).copied();
            let half = person.is_some_and(|person| person.joined != person.accepted);
            if matches!(write.effect, WriteEffect::User) && half && !team.removed.contains(&write.marker) {
                verdict.wrong.push(format!("half accepted: {write:?}"));
            }
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

/// Returns the fleet's work that is in progress although every request was answered, and waits until it has ended,
/// because its results are part of the tables.
///
/// `silenced`: connections fell silent, so that only the server's timeouts end their sessions.
///
/// # Errors
/// Fails if the server cannot be queried.
pub(super) async fn under_way(testbed: &Testbed, silenced: bool) -> Result<Vec<String>> {
    let bound = if silenced { LEFT_BEHIND } else { AT_ONCE };
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
        if let Err(error) = testbed.falls_to(0, sql, bound).await {
            left.push(format!("left behind: {what}: {error:#}"));
        }
    }
    Ok(left)
}

/// Returns sessions of environments that were shut down.
///
/// # Errors
/// Fails if the server cannot be queried.
pub(super) async fn left_behind(testbed: &Testbed) -> Result<Vec<String>> {
    let mut left = Vec::new();
    testbed.lambda.shutdown().await;
    // Silent connections stay silent until the server detects it, which is measured in the scenarios that lose
    // environments; here the network returns and reports that the peer is gone.
    testbed.proxy.reset();
    if testbed.has_pooler() {
        return Ok(left);
    }
    if let Err(error) = testbed.falls_to(0, SESSIONS, LEFT_BEHIND).await {
        left.push(format!(
            "left behind: sessions of environments that were shut down: {error:#}"
        ));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::super::team::{Meeting, Task as Known};
    use super::*;

    /// Returns the verdict on one write with this outcome that was found this often.
    fn judged(effect: WriteEffect, outcome: WriteOutcome, found: i64) -> Verdict {
        let known = ("m".to_owned(), Meeting::default());
        let team = Team {
            meetings: [known].into(),
            ..Team::default()
        };
        let scope = if matches!(effect, WriteEffect::Change(_)) {
            "m"
        } else {
            ""
        };
        let counts: Counts = [((scope.to_owned(), "1-1".to_owned()), found)].into();
        let tables = Tables {
            counted: Counted {
                changes: counts.clone(),
                users: counts,
                ..Counted::default()
            },
            ..Tables::default()
        };
        let write = RecordedWrite {
            marker: "1-1".to_owned(),
            effect,
            outcome,
        };
        let mut verdict = Verdict::default();
        tables.count(&team, &[write], &mut verdict);
        verdict
    }

    #[test]
    fn write_count_matches_the_answer() {
        for effect in [WriteEffect::User, WriteEffect::Change("m".to_owned())] {
            for (outcome, found) in [
                (WriteOutcome::Done, 1),
                (WriteOutcome::Absent, 0),
                (WriteOutcome::Unknown, 0),
                (WriteOutcome::Unknown, 1),
            ] {
                assert_eq!(
                    judged(effect.clone(), outcome, found),
                    Verdict::default(),
                    "{outcome:?} {found}"
                );
            }
            assert_eq!(judged(effect.clone(), WriteOutcome::Done, 0).lost, 1);
            for outcome in [WriteOutcome::Done, WriteOutcome::Absent, WriteOutcome::Unknown] {
                assert_eq!(judged(effect.clone(), outcome, 2).duplicated, 1, "{outcome:?}");
            }
            let refused = judged(effect, WriteOutcome::Absent, 1);
            assert_eq!((refused.lost, refused.duplicated, refused.wrong.len()), (0, 0, 1));
        }
    }

    #[test]
    fn cascaded_delete_is_no_loss() {
        assert_eq!(
            judged(WriteEffect::Change("deleted".to_owned()), WriteOutcome::Done, 1),
            Verdict::default()
        );
    }

    /// Returns a team with a meeting that was changed once and has a task, and the matching tables.
    fn agreed() -> (Team, Tables) {
        let task = Known {
            text: "1-3".to_owned(),
            status: "incomplete".to_owned(),
        };
        let meeting = Meeting {
            title: "1-2".to_owned(),
            version: 2,
            changes: 1,
            transcript: Some("said".to_owned()),
            tasks: [("t".to_owned(), task)].into(),
            ..Meeting::default()
        };
        let team = Team {
            admin: "a".to_owned(),
            meetings: [("m".to_owned(), meeting)].into(),
            ..Team::default()
        };
        let tables = Tables {
            meetings: [("m".to_owned(), row("a"))].into(),
            tasks: [("t".to_owned(), task_of("m"))].into(),
            ..Tables::default()
        };
        (team, tables)
    }

    fn row(team: &str) -> Row {
        Row {
            team: team.to_owned(),
            title: "1-2".to_owned(),
            version: 2,
            transcript: Some("said".to_owned()),
        }
    }

    fn task_of(meeting: &str) -> Task {
        Task {
            meeting: meeting.to_owned(),
            text: "1-3".to_owned(),
            status: "incomplete".to_owned(),
        }
    }

    /// Returns lost and duplicated writes after the tables or the knowledge were changed.
    fn found(change: impl FnOnce(&mut Team, &mut Tables)) -> (usize, usize) {
        let (mut team, mut tables) = agreed();
        change(&mut team, &mut tables);
        let mut verdict = Verdict::default();
        tables.hold_against(&team, &[], &mut verdict);
        assert_eq!(verdict.wrong.len(), verdict.lost + verdict.duplicated, "{verdict:?}");
        (verdict.lost, verdict.duplicated)
    }

    #[test]
    fn contradicting_tables_are_detected() {
        let meeting = |change: fn(&mut Row)| found(|_, tables| tables.meetings.values_mut().for_each(change));
        let task = |change: fn(&mut Task)| found(|_, tables| tables.tasks.values_mut().for_each(change));
        assert_eq!(found(|_, _| ()), (0, 0));
        assert_eq!(found(|_, tables| tables.meetings.clear()), (1, 0), "a meeting lost");
        assert_eq!(found(|_, tables| tables.tasks.clear()), (1, 0), "a task lost");
        assert_eq!(meeting(|row| row.version = 1), (1, 0), "a change lost");
        assert_eq!(
            meeting(|row| row.title.clear()),
            (1, 0),
            "half a change: the version without the title"
        );
        assert_eq!(meeting(|row| row.transcript = None), (1, 0), "a delivery lost");
        assert_eq!(meeting(|row| row.version = 3), (0, 1), "a change applied twice");
        assert_eq!(
            task(|row| row.status = "suggested".to_owned()),
            (1, 0),
            "an approval lost"
        );
        assert_eq!(task(|row| row.text.clear()), (1, 0), "a task's change lost");
    }

    #[test]
    fn lost_deletion_is_detected() {
        let again = |team: &str| {
            let row = row(team);
            move |_: &mut Team, tables: &mut Tables| drop(tables.meetings.insert("n".to_owned(), row))
        };
        assert_eq!(found(again("a")), (1, 0));
        assert_eq!(found(again("another team")), (0, 0));
        let task = |_: &mut Team, tables: &mut Tables| drop(tables.tasks.insert("u".to_owned(), task_of("m")));
        assert_eq!(found(task), (1, 0));
    }

    #[test]
    fn doubtful_write_is_not_judged() {
        let doubted = |team: &mut Team, tables: &mut Tables| {
            team.in_doubt.insert("m".to_owned());
            tables.meetings.clear();
        };
        assert_eq!(found(doubted), (0, 0));
        let unknown = |team: &mut Team, tables: &mut Tables| {
            team.more = true;
            tables.meetings.insert("n".to_owned(), row("a"));
        };
        assert_eq!(found(unknown), (0, 0));
    }

    #[test]
    fn lost_membership_is_detected() {
        let known = |team: &mut Team, tables: &mut Tables, joined: bool| {
            team.members.push(("1-1".to_owned(), "id".to_owned()));
            let accepted = true;
            tables.people.insert("1-1".to_owned(), Person { joined, accepted });
        };
        assert_eq!(found(|team, tables| known(team, tables, true)), (0, 0));
        assert_eq!(found(|team, tables| known(team, tables, false)), (1, 0));
    }

    #[test]
    fn half_accepted_invitation_is_detected() {
        for (joined, accepted, wrong) in [(true, true, 0), (false, false, 0), (true, false, 1), (false, true, 1)] {
            let tables = Tables {
                people: [("1-1".to_owned(), Person { joined, accepted })].into(),
                ..Tables::default()
            };
            let write = RecordedWrite {
                marker: "1-1".to_owned(),
                effect: WriteEffect::User,
                outcome: WriteOutcome::Unknown,
            };
            let mut verdict = Verdict::default();
            tables.count(&Team::default(), &[write], &mut verdict);
            assert_eq!(verdict.wrong.len(), wrong);
        }
    }
}
