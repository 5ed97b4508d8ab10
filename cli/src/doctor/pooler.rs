//! Explains failures at a pooler between client and server: PgBouncer or RDS Proxy.
//!
//! PgBouncer reports every failure with SQLSTATE 08P01, and only its message tells the cause; the message is never
//! translated.

use super::cause::{Cause, Target, cause};

pub(super) const SHOW: &str =
    "psql -p PORT -U ADMIN pgbouncer -c 'SHOW POOLS'   # at the pooler: cl_waiting, sv_active, maxwait";

/// There is a pooler that DATABASE_URL does not mention.
pub(super) fn unmentioned(words: &str) -> Cause {
    cause(
        "pooler",
        format!("the server is behind a pooler, and DATABASE_URL lacks pgbouncer=true: {words}"),
        "PgBouncer or RDS Proxy refuses the session limits that functions send; with pgbouncer=true they do not.",
        ["add pgbouncer=true to the parameters of DATABASE_URL".to_owned()],
    )
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
