//! Explains failures at a pooler between client and server: PgBouncer or RDS Proxy.
//!
//! PgBouncer reports every failure with SQLSTATE 08P01, and only its message tells the cause; the message is never
//! translated.

use super::cause::{Cause, Target, cause};
use super::login::{no_database, password};

const SHOW: &str = "psql -p PORT -U ADMIN pgbouncer -c 'SHOW POOLS'   # at the pooler: cl_waiting, sv_active, maxwait";

/// There is a pooler that DATABASE_URL does not mention.
pub(super) fn unmentioned(words: &str) -> Cause {
    cause(
        "pooler",
        format!("the server is behind a pooler, and DATABASE_URL lacks pgbouncer=true: {words}"),
        "PgBouncer or RDS Proxy refuses the session limits that functions send; with pgbouncer=true they do not.",
        ["add pgbouncer=true to the parameters of DATABASE_URL".to_owned()],
    )
}

/// The pooler rejects the log-in, for a reason that its message identifies.
pub(super) fn refused(target: &Target, words: &str) -> Option<Cause> {
    let says = |some: &[&str]| some.iter().any(|part| words.contains(part));
    if says(&[
        "SASL authentication failed",
        "password authentication failed",
        "no such user",
    ]) {
        return Some(password(target, words));
    }
    if says(&["no such database"]) || words.contains("database \"") && words.contains("does not exist") {
        return Some(no_database(target, words));
    }
    if says(&["no more connections allowed"]) {
        return Some(cause(
            "saturated",
            format!(
                "saturated: the pooler at {} accepts no more clients: {words}",
                target.endpoint
            ),
            "More environments are connected than its max_client_conn allows.",
            [
                SHOW.to_owned(),
                "raise max_client_conn in pgbouncer.ini, then: RELOAD".to_owned(),
            ],
        ));
    }
    None
}

/// The pooler accepts clients but has no server connection for them.
pub(super) fn waiting(target: &Target, seconds: f64) -> Cause {
    cause(
        "pool-busy",
        format!(
            "the pooler at {} lets clients in, but gives them no connection to the server within {seconds:.1} s",
            target.endpoint
        ),
        "All connections of its pool are taken, by long transactions or a burst; or the server behind it is down or hangs.",
        [
            SHOW.to_owned(),
            "cargo seer doctor, with the URL of the server itself   # whether it is the server".to_owned(),
        ],
    )
}
