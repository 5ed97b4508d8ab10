//! Explains failures at a pooler between client and server: PgBouncer or RDS Proxy.
//!
//! PgBouncer reports every failure with SQLSTATE 08P01, and only its message tells the cause; the message is never
//! translated.

use std::time::Duration;

use serde_json::json;
use shared::config::DatabaseUrl;
use shared::db::Deadline;

use super::cause::{Cause, TargetNames, cause};
use super::report::{Fact, Level, Report};
use super::server::Server;
use crate::pgbouncer::{limits, permission};

/// How long its console is asked.
const CONSOLE: Duration = Duration::from_secs(2);

pub(super) const SHOW: &str =
    "psql -p PORT -U ADMIN pgbouncer -c 'SHOW POOLS'   # at the pooler: cl_waiting, sv_active, maxwait";

/// Examines the pooler's limits, which decide in place of `max_connections` how many environments can connect.
pub(super) async fn examine(url: &DatabaseUrl, server: &Server, budget: i64, deadline: Deadline, report: &mut Report) {
    let Some(limits) = limits(url, deadline.within(CONSOLE)).await else {
        let line = permission(url);
        return report.note(
            "pooler",
            format!("its limits are not visible to this role: {line}"),
            json!({ "notVisible": line }),
        );
    };
    let pools = limits.pools.iter().map(|pool| {
        format!(
            "{}: {} clients active, {} waiting, {} connections in use",
            pool.name, pool.clients, pool.waiting, pool.servers
        )
    });
    report.state.push(Fact {
        id: "pooler",
        text: format!(
            "max_client_conn {}, default_pool_size {}",
            limits.clients, limits.pool_size
        ),
        more: pools.collect(),
        data: json!({ "maxClients": limits.clients, "poolSize": limits.pool_size }),
    });
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    if count(limits.clients) < budget {
        report.find(
            Level::Warn,
            "pooler-clients",
            format!(
                "the pooler takes {} clients, and the fleet's budget is {budget}",
                limits.clients
            ),
            "Further environments are refused, while the server still has slots.",
            vec![format!(
                "max_client_conn = {budget}   # at least, in pgbouncer.ini, then: RELOAD"
            )],
        );
    }
    if count(limits.pool_size) > server.usable() {
        report.find(
            Level::Warn,
            "pooler-pool",
            format!(
                "the pooler may open {} connections for a role, and the server has {} slots",
                limits.pool_size,
                server.usable()
            ),
            "Its log-ins are refused when the slots are taken, and clients wait.",
            vec![format!(
                "default_pool_size = {}   # at most, in pgbouncer.ini, then: RELOAD",
                server.usable()
            )],
        );
    }
}

/// A statement that a function sends was refused, though the connection stands.
pub(super) fn statement_refused(words: &str, report: &mut Report) {
    let by_statement = words.contains("statement pooling mode");
    report.find(
        Level::Fail,
        "functions-refused",
        format!("functions connect, and their statements fail: {words}"),
        if by_statement {
            "The pooler gives the server's connection away after each statement (pool_mode = statement), and functions \
             need transactions."
        } else {
            "What stands between the functions and the server does not carry a statement as functions send it."
        },
        if by_statement {
            vec!["pool_mode = transaction   # in pgbouncer.ini, then: RELOAD".to_owned()]
        } else {
            vec![SHOW.to_owned()]
        },
    );
}

/// There is a pooler that DATABASE_URL does not mention.
pub(super) fn unmentioned(words: &str) -> Cause {
    cause(
        "pooler",
        format!("the server is behind a pooler, and DATABASE_URL lacks pgbouncer=true: {words}"),
        "PgBouncer or RDS Proxy refuses the session limits that functions send; with pgbouncer=true they do not.",
        ["add pgbouncer=true to the parameters of DATABASE_URL".to_owned()],
    )
}

/// A pooler accepts the session limits of functions without setting them, because it ignores start-up parameters.
/// `shares`: two sessions were served by one process of the server.
pub(super) fn hidden(shares: bool, report: &mut Report) {
    let (level, what) = if shares {
        (
            Level::Fail,
            "a transaction pooler is in between, and DATABASE_URL lacks pgbouncer=true",
        )
    } else {
        (
            Level::Warn,
            "a pooler is in between, and drops the session limits of functions",
        )
    };
    report.find(
        level,
        "pooler-hidden",
        what,
        "It ignores the start-up parameter `options`, so it seems to be the server. In transaction mode, statements that one \
         function prepares are found by others, which then fail.",
        vec![
            "add pgbouncer=true to the parameters of DATABASE_URL".to_owned(),
            "remove options from ignore_startup_parameters in pgbouncer.ini, then: RELOAD".to_owned(),
        ],
    );
}

/// The pooler accepts no client besides doctor's session.
pub(super) fn last_client(report: &mut Report) {
    report.find(
        Level::Warn,
        "last-slot",
        "this session is the last client that the pooler accepts",
        "More environments are connected than its max_client_conn, max_user_connections or max_db_connections allows.",
        vec![SHOW.to_owned()],
    );
}

/// The pooler itself cannot log in to the server, with a name that is not DATABASE_URL's.
pub(super) fn other_name(target: &TargetNames, words: &str) -> Cause {
    cause(
        "pooler-target",
        format!("the pooler at {} cannot log in to its server: {words}", target.endpoint),
        "Its line for this database names a role, a password or a database that the server does not have.",
        [
            "psql -p PORT -U ADMIN pgbouncer -c 'SHOW DATABASES'   # at the pooler".to_owned(),
            "correct the line of [databases] in pgbouncer.ini, then: RELOAD".to_owned(),
        ],
    )
}

/// The pooler accepts clients but has no server connection for them.
pub(super) fn waiting(target: &TargetNames, seconds: f64) -> Cause {
    cause(
        "pool-busy",
        format!(
            "the pooler at {} lets clients in, but gives them no connection to the server within {seconds:.1} s",
            target.endpoint
        ),
        "All connections of its pool are taken, by long transactions or a burst; or the server behind it is down or hangs; or \
         the pooler is paused (PAUSE, KILL), until RESUME.",
        [
            SHOW.to_owned(),
            "cargo seer doctor, with the URL of the server itself   # whether it is the server".to_owned(),
        ],
    )
}
