//! Tries the functions' writes and reads out, in a transaction that is rolled back.
//!
//! A plan does not show that a trigger, a constraint, a default, row-level security or a function called by a trigger
//! refuses the row, or that a trigger does nothing. Invariants: commits nothing; blames missing privileges only on a role
//! that may be the functions'.

use serde::Deserialize;
use serde_json::json;

use super::cause::{literal, quoted};
use super::report::{Level, Report};
use super::server::Server;
use super::session::{Session, Trial};
use super::settings;

/// The catalogs that show what the migrations did not make.
const CATALOGS: [&str; 2] = [
    "SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal;",
    "SELECT * FROM pg_policies;",
];

/// The setting with which triggers do not run.
const REPLICATION_ROLE: &str = "session_replication_role";

/// Runs the statements of `trial` if the role may read or write rows, because the functions may use it then. `schema` is
/// that of the tables.
pub(super) async fn examine(session: &mut Session, server: &Server, schema: &str, trial: &str, report: &mut Report) {
    let skipped = if server.rejects_writes() {
        Some("not run: the server is read-only")
    } else if !server.uses_rows {
        Some("not run: this role may read and write no row, so the functions do not use it")
    } else {
        None
    };
    if let Some(why) = skipped {
        return report.note_schema("trial", why, json!({ "run": false }));
    }
    let outcome = session.try_out(trial).await;
    let text = match &outcome {
        Trial::Passed => "a write and a read of each kind worked, and were rolled back",
        Trial::Refused { .. } | Trial::NoRow { .. } => "failed, and was rolled back",
        Trial::Blocked { .. } => "not finished: the server is busy, or a lock is in the way",
        Trial::Unanswered => "not finished: no answer in time",
    };
    report.note_schema(
        "trial",
        text,
        json!({ "run": true, "passed": outcome == Trial::Passed }),
    );
    match outcome {
        Trial::Passed | Trial::Unanswered => {}
        Trial::Blocked { number, code } => blocked(session, &statement(trial, number), &code, report).await,
        Trial::NoRow { number } => {
            let statement = statement(trial, number);
            let verb = if statement.starts_with("SELECT") {
                "finds"
            } else {
                "writes"
            };
            if session.setting(REPLICATION_ROLE).await.as_deref() == Some("replica") {
                return report.find(
                    Level::Fail,
                    "trial",
                    format!("{statement} {verb} no row: {REPLICATION_ROLE} is replica, with which no trigger runs"),
                    "A tool that copies data set it and did not reset it. Foreign keys are not checked either.",
                    Vec::from_iter(settings::correction(session, server, REPLICATION_ROLE, "origin").await),
                );
            }
            report.find(
                Level::Fail,
                "trial",
                format!("{statement} {verb} no row"),
                "Row-level security hides the row, a trigger skips it, or a trigger or view of the migrations is gone, \
                 disabled or changed.",
                CATALOGS.map(str::to_owned).to_vec(),
            );
        }
        Trial::Refused { number, code, message } => {
            let what = format!("{} is refused: {message} (SQLSTATE {code})", statement(trial, number));
            let (why, run) = cause(server, schema, &code, &message);
            report.find(Level::Fail, "trial", what, why, run);
        }
    }
}

#[derive(Deserialize)]
struct Holder {
    pid: i64,
    name: String,
    what: String,
}

/// Reports that `what` did not finish, because of a lock, or because the server is busy.
pub(super) async fn blocked(session: &mut Session, what: &str, code: &str, report: &mut Report) {
    if code != "55P03" {
        return report.find(
            Level::Warn,
            "blocked",
            format!("{what} did not finish (SQLSTATE {code})"),
            "The server is overloaded, or an operator or a deadlock cancelled it. Run this again.",
            Vec::new(),
        );
    }
    let holders = session
        .rows::<Holder>(
            "SELECT a.pid, coalesce(nullif(a.application_name, ''), 'a session') AS name, \
             coalesce(min(l.relation::regclass::text) FILTER (WHERE c.relkind IN ('r', 'p')), 'a key') AS what \
             FROM pg_locks l JOIN pg_stat_activity a USING (pid) LEFT JOIN pg_class c ON c.oid = l.relation \
             WHERE l.granted AND l.locktype IN ('relation', 'advisory') AND a.datname = current_database() \
             AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
             GROUP BY a.pid, a.application_name, a.xact_start ORDER BY a.xact_start",
        )
        .await
        .unwrap_or_default();
    let names = holders
        .iter()
        .map(|Holder { pid, name, what }| format!("{name} (pid {pid}) on {what}"));
    let names = match names.collect::<Vec<_>>().join(", ") {
        names if names.is_empty() => String::new(),
        names => format!(" of {names}"),
    };
    report.find(
        Level::Fail,
        "blocked",
        format!("{what} waits for a lock{names}"),
        "A migration, an index built without CONCURRENTLY, or a transaction left open. Requests wait for it too.",
        holders
            .iter()
            .map(|holder| format!("SELECT pg_terminate_backend({});", holder.pid))
            .collect(),
    );
}

fn cause(server: &Server, schema: &str, code: &str, message: &str) -> (&'static str, Vec<String>) {
    let (schema, role) = (quoted(schema), quoted(&server.role));
    // A constraint that is violated.
    if code.starts_with("23") {
        let class = literal(&schema);
        return (
            "A constraint, or a column without its default, is not as this build's migrations make it.",
            vec![
                format!(
                    "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint \
                     WHERE connamespace = {class}::regnamespace;"
                ),
                format!(
                    "SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid \
                     WHERE relnamespace = {class}::regnamespace AND relkind = 'r' AND attnum > 0 AND attnotnull \
                     AND NOT atthasdef AND NOT attisdropped;"
                ),
            ],
        );
    }
    if code != "42501" {
        return (
            "A trigger, default, sequence or function is not as this build's migrations make it.",
            CATALOGS.map(str::to_owned).to_vec(),
        );
    }
    // The server's own words, in English, or the general advice.
    let secured = message.strip_prefix("new row violates row-level security policy for table ");
    match secured.map(|name| name.trim_matches('"')) {
        Some(table) => (
            "Row-level security is on, and no policy lets this role write such a row.",
            vec![format!(
                "CREATE POLICY functions ON {schema}.{} TO {role} USING (true) WITH CHECK (true);",
                quoted(table)
            )],
        ),
        None => (
            "The functions' role lacks a privilege that a trigger or function needs, which runs as the role.",
            server.privileges(&schema),
        ),
    }
}

/// Returns the beginning of a statement: what it does, and its table.
fn statement(trial: &str, number: usize) -> String {
    let statement = trial.split(";\n").nth(number).unwrap_or_default();
    let mut lines = statement
        .lines()
        .skip_while(|line| line.starts_with("--") || line.is_empty());
    let first = lines.next().unwrap_or_default();
    let words = first.split(['(', ',']).next().unwrap_or_default();
    words.split(" WHERE ").next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_is_named_by_its_beginning() {
        let trial = "-- About.\n-- More.\n\nINSERT INTO users (id) VALUES\n    (1);\nUPDATE tasks SET a = 1 WHERE b;\n\
                     SELECT deliver(1,\n 2);\n";
        for (number, expected) in [
            (0, "INSERT INTO users"),
            (1, "UPDATE tasks SET a = 1"),
            (2, "SELECT deliver"),
            (3, ""),
        ] {
            assert_eq!(statement(trial, number), expected);
        }
    }
}
