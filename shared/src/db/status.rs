//! The one statement after each connect: sets the session up, and returns facts about the server and the session.
//!
//! Depends on: only the driver; `connect` sends it. It takes one round trip and no privileges.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// How much longer than one statement a whole transaction may take (PostgreSQL 17 and later): `statement_timeout` does
/// not end a session that received Bind and Execute and never Sync, which keeps its locks.
const TRANSACTION_TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

/// How often the server checks for a closed client while a statement waits, so that it does not apply a statement long
/// after its client has gone.
const CLIENT_CONNECTION_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Settings that override those of the role and the database, so that SQL has the same meaning everywhere.
///
/// Not set here: `DateStyle`, `TimeZone` and `client_encoding` (the driver sends them at start-up, which takes
/// precedence over a role's settings, as do the limits in `target`), `search_path` and `default_transaction_read_only`
/// (an operator sets them deliberately; the second is reported), `lock_timeout` (a statement that it ends was not
/// applied and is retried), `synchronous_commit` (durability is the operator's decision),
/// `default_transaction_deferrable` (affects serializable transactions only), and settings that change neither a result
/// nor an error, such as the planner's costs.
const SESSION_SETTINGS: [(&str, &str); 3] = [
    // Planning costs as much as running: once per statement, instead of five times and with each NULL parameter.
    ("plan_cache_mode", "force_generic_plan"),
    // A statement that waited for a row sees the row as it is then.
    ("default_transaction_isolation", "read committed"),
    // The values of a statement that fails are the content of a request. Those of other statements are in the log unless
    // the role or the server sets log_parameter_max_length, which a session may not.
    ("log_parameter_max_length_on_error", "0"),
];

/// More of them, which each explicit transaction behind a pooler sets too: they decide what a statement and its result
/// mean, or whether it ends in time.
pub(super) const TRANSACTION_SETTINGS: [(&str, &str); 10] = [
    // A page of a list is read in 2 ms; compiling its plan takes a hundred, if statistics make it look expensive.
    ("jit", "off"),
    // Backslashes in literals, `= NULL`, and `NULL` in the text of an array keep their standard meaning.
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // Values as text, and therefore in jsonb.
    ("bytea_output", "hex"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    // An error ends its statement, not the session: else every rejection would look like a lost connection.
    ("exit_on_error", "off"),
    // Policies filter rows; `off` makes them errors.
    ("row_security", "on"),
    // A GIN index returns all rows, not a random part of them.
    ("gin_fuzzy_search_limit", "0"),
];

/// Facts about the server and the session. Requires no privileges. `numbackends` counts all slots in use, even if the
/// role may not see the rows of pg_stat_activity.
pub(super) const STATUS_QUERY: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only, \
    (SELECT sum(pg_stat_get_db_numbackends(oid)) FROM pg_database)::int8 AS used, \
    current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
    - coalesce(current_setting('reserved_connections', true), '0')::int8 AS usable, \
    pg_backend_pid() AS pid, \
    (SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_get_activity(pg_backend_pid())) \
    AS backend_start, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS server_start";

/// Returns the one statement after each connect, for the simple protocol: one round trip. For a direct session it also
/// sets the session up. A setting that the server does not support is never evaluated.
pub(super) fn status_query(statement_timeout: Duration) -> String {
    let settings: Vec<String> = SESSION_SETTINGS
        .iter()
        .chain(&TRANSACTION_SETTINGS)
        .map(|(name, value)| format!("('{name}', '{value}', true)"))
        .collect();
    format!(
        "{STATUS_QUERY}, (SELECT count(set_config(name, value, false)) FROM (VALUES {}, \
        ('client_connection_check_interval', '{}', version() LIKE '%linux%'), \
        ('transaction_timeout', '{}', current_setting('server_version_num')::int4 >= 170000)) \
        AS setting (name, value, supported) WHERE supported)",
        settings.join(", "),
        CLIENT_CONNECTION_CHECK_INTERVAL.as_millis(),
        (statement_timeout + TRANSACTION_TIMEOUT_MARGIN).as_millis(),
    )
}

/// The state of the server when the connection was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerStatus {
    /// Whether it is a standby, or a primary configured to reject writes.
    pub read_only: bool,
    /// Connection slots in use, including this one.
    pub used: i64,
    /// Connection slots that ordinary roles can use.
    pub usable: i64,
}

impl ServerStatus {
    pub(super) fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            read_only: row.try_get("read_only")?,
            used: row.try_get("used")?,
            usable: row.try_get("usable")?,
        })
    }

    /// Returns whether more than four fifths of the slots are in use: environments should take turns.
    pub(super) fn near_capacity(&self) -> bool {
        self.used * 5 > self.usable * 4
    }
}

/// Identifies a session of a server, as another session sees it in `pg_stat_activity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The server's process, from `pg_backend_pid()`.
    pub pid: i32,
    /// `backend_start` in microseconds since the Unix epoch, exact, because process ids are reused.
    pub backend_start: i64,
    /// The server's start time, in microseconds since the Unix epoch, which identifies the server.
    pub server_start: i64,
}

impl SessionIdentity {
    /// Returns `None` if the server does not tell when the session began.
    pub(super) fn from_row(row: &PgRow) -> Result<Option<Self>, sqlx::Error> {
        let (pid, server_start) = (row.try_get("pid")?, row.try_get("server_start")?);
        let backend_start: Option<i64> = row.try_get("backend_start")?;
        Ok(backend_start.map(|backend_start| Self {
            pid,
            backend_start,
            server_start,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_near_above_four_fifths() {
        let near = |used| {
            let status = ServerStatus {
                read_only: false,
                used,
                usable: 97,
            };
            status.near_capacity()
        };
        assert!(!near(1) && !near(77));
        assert!(near(78) && near(97) && near(100));
    }
}
