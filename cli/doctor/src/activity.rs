//! Examines sessions, transactions and locks: which roles are connected, what runs, and which sessions block others.
//!
//! Invariants: reports what this role is not allowed to see; never prints a statement's literals.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::cause::{TargetNames, literal, quoted};
use super::report::{Fact, Level, Report};
use super::server::{Server, span};
use super::session::Session;
use super::statements::without_literals;

/// After this long without use the pool opens a new connection instead of reusing the old one (`shared::db::pool`), so
/// no function uses a session that is idle for longer.
const MAX_IDLE_SECONDS: u32 = 5 * 60;
/// Lists the roles and applications that hold the connections.
pub(super) const WHO: &str =
    "SELECT count(*), usename, application_name, state FROM pg_stat_activity GROUP BY 2, 3, 4 ORDER BY 1 DESC;";
/// The application name of functions unless the URL sets another: function and version.
const A_FUNCTION: &str = r"~ ':([0-9]+|\$LATEST)$'";
/// A transaction open for longer than any request may take.
const OLD_TRANSACTION_SECONDS: f64 = 60.0;
const LONG_WAIT_SECONDS: f64 = 5.0;
/// Examines sessions, transactions and locks.
pub(super) async fn examine(session: &mut Session, target: &TargetNames, server: &Server, report: &mut Report) {
    connections(session, target, server, report).await;
    transactions(session, server, report).await;
    locks(session, server, report).await;
}

/// Returns the SQL condition for sessions that functions have abandoned. A server can be shared, so sessions of other
/// databases and applications are neither judged nor terminated.
fn is_left_behind(target: &TargetNames) -> String {
    let name = match &target.application {
        Some(name) => format!("= {}", literal(name)),
        None => A_FUNCTION.to_owned(),
    };
    format!(
        "state = 'idle' AND state_change < now() - interval '{} min' AND datname = {} AND application_name {name}",
        MAX_IDLE_SECONDS / 60,
        literal(&target.database)
    )
}

/// Returns the statement that terminates them.
pub(super) fn terminate(target: &TargetNames) -> String {
    format!(
        "SELECT count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity WHERE {} AND pid <> pg_backend_pid();",
        is_left_behind(target)
    )
}

#[derive(Deserialize)]
struct Group {
    name: String,
    state: String,
    sessions: i64,
    left_behind: i64,
}

async fn connections(session: &mut Session, target: &TargetNames, server: &Server, report: &mut Report) {
    let (used, usable) = (server.used, server.usable());
    let share = used * 100 / usable;
    let reserved = server.superuser_reserved + server.reserved;
    let mut text = format!(
        "{used} of {usable} slots for ordinary roles ({share}%); {reserved} reserved, max_connections {}",
        server.max
    );
    if server.role_limit >= 0 {
        text.push_str(&format!(
            "; role {}: {} of its {}",
            server.role, server.role_used, server.role_limit
        ));
    }
    let data = json!({
        "used": used, "usable": usable, "reserved": reserved, "max": server.max,
        "roleUsed": server.role_used, "roleLimit": server.role_limit,
    });
    report.note("connections", text, data);
    if server.role_limit >= 0 && server.role_used * 5 > server.role_limit * 4 {
        report.find(
            Level::Warn,
            "role-limit",
            format!(
                "role {} has {} of its own {} connections open",
                server.role, server.role_used, server.role_limit
            ),
            "At its CONNECTION LIMIT it is refused, however many slots the server has left.",
            vec![format!(
                "ALTER ROLE {} CONNECTION LIMIT {};",
                quoted(&server.role),
                server.usable()
            )],
        );
    }
    let groups = session
        .rows::<Group>(&format!(
            "SELECT coalesce(nullif(application_name, ''), '(unnamed)') AS name, state, count(*) AS sessions, \
             count(*) FILTER (WHERE {}) \
             AS left_behind FROM pg_stat_activity WHERE backend_type = 'client backend' AND state IS NOT NULL \
             AND pid <> pg_backend_pid() GROUP BY 1, 2 ORDER BY 3 DESC, 1",
            is_left_behind(target)
        ))
        .await;
    let left = groups
        .as_ref()
        .map_or(0, |groups| groups.iter().map(|group| group.left_behind).sum());
    slots(session, target, server, left, report).await;
    let groups = match groups {
        Ok(groups) => groups,
        Err(unavailable) => return report.unavailable("sessions", &unavailable, &server.grant()),
    };
    let hidden = if server.sees_activity {
        None
    } else {
        Some(server.grant())
    };
    sessions(&groups, hidden.as_deref(), report);
    left_behind(left, target, usable, hidden.as_deref(), report);
}

#[derive(Deserialize)]
struct Most {
    role: String,
    name: String,
    sessions: i64,
}

/// The roles and applications with the most sessions. Any role may see the role and application name of all sessions.
const MOST: &str = "SELECT usename AS role, count(*) AS sessions, \
    coalesce(mode() WITHIN GROUP (ORDER BY nullif(split_part(application_name, ':', 1), '')), '(unnamed)') AS name \
    FROM pg_stat_activity WHERE usename IS NOT NULL AND datname IS NOT NULL AND pid <> pg_backend_pid() \
    AND coalesce(backend_type, 'client backend') = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1";

/// Reports free slots, and which sessions use them if few are left. `left`: sessions that functions abandoned.
async fn slots(session: &mut Session, target: &TargetNames, server: &Server, left: i64, report: &mut Report) {
    let (used, usable) = (server.used, server.usable());
    if used * 5 <= usable * 4 {
        return;
    }
    let most = match session.one::<Most>(MOST).await {
        Ok(most) => format!("; {} by role {}, mostly {}", most.sessions, most.role, most.name),
        Err(_) => String::new(),
    };
    if used >= usable {
        let mut run = vec![WHO.to_owned()];
        let why = if left > 0 {
            run.push(terminate(target));
            "The last line ends the sessions that destroyed environments left behind, and no others."
        } else if server.sees_activity {
            "A burst of environments, or another application: see State. Functions left none of them behind."
        } else {
            "A burst of environments, sessions they left behind, or another application: see State."
        };
        report.find(
            Level::Fail,
            "saturated",
            format!("saturated: {used} of {usable} connection slots are taken{most}; ordinary roles get no other"),
            why,
            run,
        );
    } else {
        report.find(
            Level::Warn,
            "crowded",
            format!("{used} of {usable} connection slots are taken{most}"),
            "Above four fifths environments take turns: each request opens its own connection, and is slower.",
            Vec::new(),
        );
    }
}

fn sessions(groups: &[Group], hidden: Option<&str>, report: &mut Report) {
    let mut by_function: BTreeMap<&str, (i64, Vec<String>)> = BTreeMap::new();
    let mut by_state: BTreeMap<&str, i64> = BTreeMap::new();
    for group in groups {
        let (sum, states) = by_function.entry(&group.name).or_default();
        *sum += group.sessions;
        states.push(format!("{} {}", group.sessions, group.state));
        *by_state.entry(&group.state).or_default() += group.sessions;
    }
    let mut functions: Vec<_> = by_function.iter().collect();
    functions.sort_by_key(|(_, (sum, _))| -sum);
    let total: i64 = by_state.values().sum();
    let states: Vec<String> = by_state.iter().map(|(state, sum)| format!("{sum} {state}")).collect();
    let mut text = match total {
        0 => "none but this one".to_owned(),
        _ => states.join(", "),
    };
    if let Some(grant) = hidden {
        text.push_str(&format!(" of this role; others are not visible to it: {grant}"));
    }
    let more = functions
        .iter()
        .take(12)
        .map(|(name, (sum, states))| format!("{sum:>4}  {name} ({})", states.join(", ")))
        .collect();
    let function = |(name, (sum, _)): &(&&str, &(i64, Vec<String>))| ((**name).to_owned(), *sum);
    report.state.push(Fact {
        id: "sessions",
        text,
        more,
        data: json!({
            "byState": by_state,
            "byFunction": functions.iter().map(function).collect::<BTreeMap<_, _>>(),
            "othersNotVisible": hidden,
        }),
    });
}

fn left_behind(left: i64, target: &TargetNames, usable: i64, hidden: Option<&str>, report: &mut Report) {
    let minutes = MAX_IDLE_SECONDS / 60;
    let of_whom = if hidden.is_some() { " of this role" } else { "" };
    let text = format!("{left} sessions of functions{of_whom} idle for over {minutes} min: none uses them again");
    report.note("leftBehind", text, json!({ "sessions": left }));
    if left * 10 > usable {
        report.find(
            Level::Warn,
            "left-behind",
            format!("{left} of {usable} slots are held by sessions that destroyed environments left behind"),
            "They are idle for longer than the pool keeps a connection. idle_session_timeout would end them.",
            vec![terminate(target)],
        );
    }
}

#[derive(Deserialize)]
struct Oldest {
    pid: i64,
    name: String,
    state: Option<String>,
    age: f64,
    query: Option<String>,
    blocked: i64,
}

async fn transactions(session: &mut Session, server: &Server, report: &mut Report) {
    let oldest = session
        .rows::<Oldest>(
            "SELECT pid, coalesce(nullif(application_name, ''), '(unnamed)') AS name, state, \
             extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age, left(query, 200) AS query, \
             (SELECT count(DISTINCT l.pid) FROM pg_locks l WHERE NOT l.granted \
             AND a.pid = ANY (pg_blocking_pids(l.pid))) AS blocked \
             FROM pg_stat_activity a WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() \
             AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1",
        )
        .await;
    let of_whom = if server.sees_activity { "" } else { " of this role" };
    match oldest.map(|rows| rows.into_iter().next()) {
        Err(unavailable) => report.unavailable("oldestTransaction", &unavailable, &server.grant()),
        Ok(None) => report.note("oldestTransaction", format!("none open{of_whom}"), json!(null)),
        Ok(Some(oldest)) => {
            let state = oldest.state.unwrap_or_default();
            let blocks = match oldest.blocked {
                0 => String::new(),
                blocked => format!(", blocks {blocked}"),
            };
            let text = format!(
                "{} open: pid {}, {}, {state}{blocks}: {}",
                span(oldest.age),
                oldest.pid,
                oldest.name,
                without_literals(&oldest.query.unwrap_or_default())
            );
            let data = json!({
                "pid": oldest.pid, "application": oldest.name, "state": state, "seconds": oldest.age.round(),
                "blocks": oldest.blocked,
            });
            report.note("oldestTransaction", text, data);
            if oldest.age > OLD_TRANSACTION_SECONDS {
                report.find(
                    Level::Warn,
                    "old-transaction",
                    format!(
                        "a transaction of {} has been open for {}",
                        oldest.name,
                        span(oldest.age)
                    ),
                    "It holds its locks, and keeps vacuum from removing anything that died since.",
                    vec![format!("SELECT pg_terminate_backend({});", oldest.pid)],
                );
            }
        }
    }
}

#[derive(Deserialize)]
struct Waiting {
    pid: i64,
    blockers: Vec<i64>,
    waited: Option<f64>,
}

async fn locks(session: &mut Session, server: &Server, report: &mut Report) {
    let waiting = session
        .rows::<Waiting>(
            "SELECT w.pid, pg_blocking_pids(w.pid) AS blockers, \
             extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS waited \
             FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted) w \
             LEFT JOIN pg_stat_activity a USING (pid) ORDER BY waited DESC NULLS LAST LIMIT 50",
        )
        .await;
    let waiting = match waiting {
        Ok(waiting) => waiting,
        Err(unavailable) => return report.unavailable("locks", &unavailable, &server.grant()),
    };
    if waiting.is_empty() {
        return report.note("locks", "nobody waits", json!({ "waiting": 0, "blockers": {} }));
    }
    let holders = holders(session, &waiting).await;
    let names: Vec<String> = holders
        .iter()
        .map(|(pid, name)| format!("{name} (pid {pid})"))
        .collect();
    let names = names.join(", ");
    let text = format!("{} sessions wait, in the end for {names}", waiting.len());
    let blockers: BTreeMap<&str, i64> = holders.iter().map(|(pid, name)| (name.as_str(), *pid)).collect();
    report.note("locks", text, json!({ "waiting": waiting.len(), "blockers": blockers }));
    let longest = waiting.iter().find_map(|waiter| waiter.waited).unwrap_or_default();
    if longest > LONG_WAIT_SECONDS {
        report.find(
            Level::Warn,
            "lock-wait",
            format!(
                "{} sessions wait for a lock of {names}, the longest for {}",
                waiting.len(),
                span(longest)
            ),
            "Its transaction is long or forgotten, or a migration waits in front of everybody else.",
            holders
                .iter()
                .map(|(pid, _)| format!("SELECT pg_terminate_backend({pid});"))
                .collect(),
        );
    }
}

#[derive(Deserialize)]
struct Holder {
    pid: i64,
    name: Option<String>,
}

/// Returns the application names of sessions that block others and are not blocked themselves.
async fn holders(session: &mut Session, waiting: &[Waiting]) -> Vec<(i64, String)> {
    let waits = |pid: &i64| waiting.iter().any(|waiter| waiter.pid == *pid);
    let mut pids: Vec<i64> = waiting
        .iter()
        .flat_map(|waiter| waiter.blockers.iter().copied())
        .collect();
    pids.retain(|pid| !waits(pid));
    pids.sort_unstable();
    pids.dedup();
    let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let named = session
        .rows::<Holder>(&format!(
            "SELECT pid, nullif(application_name, '') AS name FROM pg_stat_activity WHERE pid = ANY ('{{{}}}')",
            list.join(",")
        ))
        .await
        .unwrap_or_default();
    let name = |pid| {
        named
            .iter()
            .find(|holder| holder.pid == pid)
            .and_then(|holder| holder.name.clone())
    };
    pids.into_iter()
        .map(|pid| (pid, name(pid).unwrap_or_else(|| "a session".to_owned())))
        .collect()
}
