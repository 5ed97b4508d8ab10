//! The session that examines the server: queries with a timeout each, and results or the reason for their absence.
//!
//! Every query is one message of the simple protocol and its own read-only transaction with its own settings, so that it
//! works through a transaction pooler, leaves nothing behind, and does not affect the next one if it fails. Only a trial
//! writes, in a transaction that is always rolled back. Invariants: commits no write, never waits past the deadline.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::config::DatabaseUrl;
use shared::db::Deadline;
use sqlx::{AssertSqlSafe, Connection as _, Either, PgConnection, Row as _};
use tokio::time::timeout;

use super::cause::{literal, quoted};
use super::report::{Fact, Report};

/// Settings of each query, whatever the server, the database and the role have. An error ends its statement and not the
/// session, and nothing is compiled, because `statement_timeout` does not interrupt a compilation.
const SETTINGS: [&str; 4] = [
    "SET LOCAL statement_timeout = 1500;",
    "SET LOCAL lock_timeout = 500;",
    "SET LOCAL exit_on_error = off;",
    "SET LOCAL jit_above_cost = -1;",
];
/// The client's timeout of each query; the server's timeout precedes it, unless the server hangs.
const ANSWER: Duration = Duration::from_millis(2_500);
/// The timeout for sending Terminate.
const TERMINATE_TIMEOUT: Duration = Duration::from_millis(200);

/// A connection for queries.
#[derive(Debug)]
pub(super) struct Session {
    connection: PgConnection,
    deadline: Deadline,
    /// Statements, each of which sets one for a transaction.
    settings: Vec<String>,
    lost: bool,
}

/// The outcome of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// Every statement wrote or found a row.
    Passed,
    /// The server refused the statement of this number, counted from 0.
    Refused {
        number: usize,
        /// The SQLSTATE.
        code: String,
        message: String,
    },
    /// The statement of this number wrote or found no row.
    NoRow { number: usize },
    /// The server is busy, or a lock blocks the statement of this number.
    Blocked {
        number: usize,
        /// The SQLSTATE.
        code: String,
    },
    /// The server did not answer in time, which the end of the examination reports.
    Unanswered,
}

/// Keeps a query from writing.
const READ_ONLY: &str = "SET LOCAL transaction_read_only = on;";

/// SQLSTATEs of a busy server, or of a lock in the way.
const PASSING: [&str; 5] = ["57014", "55P03", "57P01", "40001", "40P01"];

/// Returns whether a refusal with this SQLSTATE is of a busy server, or of a lock in the way.
pub(super) fn is_passing(code: &str) -> bool {
    PASSING.contains(&code)
}

/// Why a query has no result.
#[derive(Clone, Debug)]
pub(super) enum Unavailable {
    /// The role is not allowed to see it.
    Hidden,
    /// This server has no such object.
    Absent,
    /// The server did not finish in time, or a lock blocks the query.
    Late,
    /// The server ended the session because it was idle.
    Idle,
    /// The connection is lost, or the time of the whole examination has run out.
    Lost,
    /// The server returned an error, with this code.
    Failed(String),
}

impl Session {
    pub(super) fn new(connection: PgConnection, url: &DatabaseUrl, deadline: Deadline) -> Self {
        let mut settings = SETTINGS.map(str::to_owned).to_vec();
        if let Some(path) = url.search_path().filter(|_| url.is_pooled()) {
            settings.push(format!("SET LOCAL search_path = {path};"));
        }
        Self {
            connection,
            deadline,
            settings,
            lost: false,
        }
    }

    /// Lets the following queries find the tables of `schema`, whatever the session's search_path.
    pub(super) fn look_into(&mut self, schema: &str) {
        self.settings
            .push(format!("SET LOCAL search_path = {};", quoted(schema)));
    }

    /// Returns the rows of a SELECT, deserialized by column name.
    pub(super) async fn rows<T: DeserializeOwned>(&mut self, select: &str) -> Result<Vec<T>, Unavailable> {
        let bound = self.deadline.left().min(ANSWER);
        if self.lost || bound.is_zero() {
            return Err(Unavailable::Lost);
        }
        let settings = self.settings.concat();
        let sql = format!("{READ_ONLY} {settings} SELECT to_json(q)::text AS answer FROM ({select}) AS q");
        let asked = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
        let rows = match timeout(bound, asked).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return Err(self.unavailable(&error)),
            Err(_) => {
                // With a shortened timeout it may only have been slow.
                self.lost = bound == ANSWER;
                self.deadline = Deadline::after(Duration::ZERO);
                return Err(Unavailable::Lost);
            }
        };
        rows.iter()
            .map(|row| {
                let text: String = row
                    .try_get("answer")
                    .map_err(|error| Unavailable::Failed(error.to_string()))?;
                serde_json::from_str(&text).map_err(|error| Unavailable::Failed(error.to_string()))
            })
            .collect()
    }

    /// Returns the only row of a SELECT.
    pub(super) async fn one<T: DeserializeOwned>(&mut self, select: &str) -> Result<T, Unavailable> {
        let row = self.rows(select).await?.into_iter().next();
        row.ok_or(Unavailable::Absent)
    }

    /// Returns the SQLSTATE and the message with which the server refuses statements, which must not write; `None` if it
    /// does not refuse them, or does not answer.
    pub(super) async fn refusal(&mut self, statements: &str) -> Option<(String, String)> {
        let bound = self.deadline.left().min(ANSWER);
        if self.lost || bound.is_zero() {
            return None;
        }
        let sql = format!("{READ_ONLY} {} {statements}", self.settings.concat());
        let asked = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection);
        let Ok(answered) = timeout(bound, asked).await else {
            self.lost = bound == ANSWER;
            self.deadline = Deadline::after(Duration::ZERO);
            return None;
        };
        let error = answered.err()?;
        let Some(refused) = error.as_database_error() else {
            self.lost = true;
            return None;
        };
        let code = refused.code().unwrap_or_default().into_owned();
        Some((code, super::text::one_line(refused.message())))
    }

    /// Runs statements, each of which has to write or find a row, in a transaction that it rolls back.
    pub(super) async fn try_out(&mut self, statements: &str) -> Trial {
        let bound = self.deadline.left().min(ANSWER);
        if self.lost || bound.is_zero() {
            return Trial::Unanswered;
        }
        let Ok(trial) = timeout(bound, tried_out(&mut self.connection, &self.settings, statements)).await else {
            // The server ends the transaction with the connection.
            self.lost = true;
            return Trial::Unanswered;
        };
        trial.unwrap_or_else(|_| {
            self.lost = true;
            Trial::Unanswered
        })
    }

    /// Returns whether the server is a standby.
    pub(super) async fn is_on_standby(&mut self) -> bool {
        #[derive(Deserialize)]
        struct Recovery {
            standby: bool,
        }
        let recovery = self.one::<Recovery>("SELECT pg_is_in_recovery() AS standby").await;
        recovery.is_ok_and(|recovery| recovery.standby)
    }

    /// Returns the value of a setting.
    pub(super) async fn setting(&mut self, name: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Setting {
            value: String,
        }
        let select = format!("SELECT current_setting({}) AS value", literal(name));
        self.one::<Setting>(&select).await.ok().map(|setting| setting.value)
    }

    /// Returns whether the server no longer responds.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    fn unavailable(&mut self, error: &sqlx::Error) -> Unavailable {
        let Some(database) = error.as_database_error() else {
            self.lost = true;
            return Unavailable::Lost;
        };
        let code = database.code().unwrap_or_default();
        match code.as_ref() {
            "42501" => Unavailable::Hidden,
            // No such table, function or column; not implemented; not loaded.
            "42P01" | "42883" | "42703" | "0A000" | "55000" => Unavailable::Absent,
            "57014" | "55P03" => Unavailable::Late,
            "57P01" | "57P02" | "57P03" => {
                self.lost = true;
                Unavailable::Lost
            }
            "57P05" => {
                self.lost = true;
                Unavailable::Idle
            }
            _ => Unavailable::Failed(format!("SQLSTATE {code}: {}", database.message())),
        }
    }

    /// Sends Terminate, so that the slot is free at once.
    pub(super) async fn close(self) {
        let _ = timeout(TERMINATE_TIMEOUT, self.connection.close()).await;
    }
}

/// Runs a trial; fails with an error that is not the server's. One message, because a pooler that gives a session to one
/// statement accepts no transaction of several.
async fn tried_out(connection: &mut PgConnection, settings: &[String], statements: &str) -> Result<Trial, sqlx::Error> {
    // Each statement of a function is a transaction of its own, which ends with the deferred constraints.
    let begin = [
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;",
        "SET CONSTRAINTS ALL IMMEDIATE;",
    ];
    let sql = format!("{} {} {statements} ROLLBACK", begin.concat(), settings.concat());
    // The results of these and the settings come first, that of ROLLBACK last.
    let before = begin.len() + settings.len();
    let count = statements.matches(";\n").count();
    let (mut done, mut trial, mut aborted) = (0_usize, Trial::Passed, false);
    {
        let mut results = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(&mut *connection);
        // The results after the first failure are read too, so that the connection is in step.
        while let Some(result) = results.next().await {
            match result {
                Ok(Either::Left(result)) => {
                    let number = done.checked_sub(before).filter(|number| *number < count);
                    if let Some(number) = number.filter(|_| result.rows_affected() == 0 && trial == Trial::Passed) {
                        trial = Trial::NoRow { number };
                    }
                    done += 1;
                }
                Ok(Either::Right(_)) => {}
                Err(error) => {
                    let Some(refused) = error.as_database_error() else {
                        return Err(error);
                    };
                    aborted = true;
                    let code = refused.code().unwrap_or_default().into_owned();
                    let message = super::text::one_line(refused.message());
                    let number = done.saturating_sub(before);
                    trial = match trial {
                        Trial::Passed if is_passing(&code) => Trial::Blocked { number, code },
                        Trial::Passed => Trial::Refused { number, code, message },
                        Trial::NoRow { .. } | Trial::Refused { .. } | Trial::Blocked { .. } | Trial::Unanswered => {
                            trial
                        }
                    };
                }
            }
        }
    }
    if aborted {
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    }
    Ok(trial)
}

impl Unavailable {
    /// Describes the reason for people; `grant` is the statement that would let the role see it.
    pub(super) fn text(&self, grant: &str) -> String {
        match self {
            Self::Hidden => format!("not visible to this role: {grant}"),
            Self::Absent => "this server does not tell".to_owned(),
            Self::Late => "no answer in time: the server is busy, or a lock is in the way".to_owned(),
            Self::Idle => "the server ended the session: idle_session_timeout".to_owned(),
            Self::Lost => "not asked: no answers any more".to_owned(),
            Self::Failed(why) => format!("the server refused the question ({why})"),
        }
    }

    /// Describes the reason as JSON.
    pub(super) fn data(&self, grant: &str) -> Value {
        match self {
            Self::Hidden => json!({ "notVisible": grant }),
            Self::Absent | Self::Late | Self::Idle | Self::Lost | Self::Failed(_) => {
                json!({ "unknown": self.text(grant) })
            }
        }
    }

    /// Describes the reason as a fact.
    pub(super) fn fact(&self, id: &'static str, grant: &str) -> Fact {
        Fact {
            id,
            text: self.text(grant),
            more: Vec::new(),
            data: self.data(grant),
        }
    }
}

impl Report {
    /// Adds the fact that `id` could not be determined.
    pub(super) fn unavailable(&mut self, id: &'static str, unavailable: &Unavailable, grant: &str) {
        self.state.push(unavailable.fact(id, grant));
    }
}
