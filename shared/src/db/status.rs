//! The one statement after each connect: sets the session up, and returns facts about the server and the session.
//!
//! Depends on nothing but the driver; `connect` sends it. It takes one round trip and no privileges.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// How much longer than one statement a whole transaction may take (PostgreSQL 17 and later): `statement_timeout` does
/// not end a session that received Bind and Execute and never Sync, which keeps its locks.
const TRANSACTION_TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

/// How often the server looks for a closed client while a statement waits, so that it does not apply a statement long
/// after its client has gone.
const CLIENT_CONNECTION_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Settings that override those of the role and the database, so that SQL means the same everywhere.
///
/// Not set here: `DateStyle`, `TimeZone` and `client_encoding` (the driver sends them at the start-up, which outranks a
/// role's settings, as do the limits in `connect`), `search_path` and `default_transaction_read_only` (an
/// operator means them; the second is reported), `lock_timeout` (a statement that it ends was not applied and runs
/// again), `synchronous_commit` (durability is the operator's decision), `default_transaction_deferrable` (acts on
/// serializable transactions only), and what changes neither a result nor an error, such as the planner's costs.
const SESSION_SETTINGS: [(&str, &str); 11] = [
    // Planning costs as much as running: once a statement, instead of five times and with each NULL parameter.
    ("plan_cache_mode", "force_generic_plan"),
    // A page of a list is read in 2 ms; compiling its plan takes a hundred, if statistics make it look expensive.
    ("jit", "off"),
    // A statement that waited for a row looks at the row as it is then.
    ("default_transaction_isolation", "read committed"),
    // Backslashes in literals, `= NULL`, and `NULL` in the text of an array keep their standard meaning.
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // Values as text, and so in jsonb.
    ("bytea_output", "hex"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    // Policies filter rows; `off` makes them errors.
    ("row_security", "on"),
    // A GIN index gives all rows, not a random part of them.
    ("gin_fuzzy_search_limit", "0"),
];

/// Facts about the server and the session. It runs with no privileges at all. `numbackends` counts what holds a slot,
/// whoever may see the rows of pg_stat_activity.
pub(super) const STATUS_QUERY: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only, \
    (SELECT sum(pg_stat_get_db_numbackends(oid)) FROM pg_database)::int8 AS used, \
    current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
    - coalesce(current_setting('reserved_connections', true), '0')::int8 AS usable, \
    pg_backend_pid() AS pid, \
    (SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_get_activity(pg_backend_pid())) \
    AS backend_start, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS server_start";

/// The one statement after each connect, over the simple protocol: one round trip. Where the session is ours it also
/// sets the session up. A setting that the server does not support is never evaluated.
pub(super) fn status_query(statement_timeout: Duration) -> String {
    let settings: Vec<String> = SESSION_SETTINGS
        .iter()
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
pub struct ServerStatus {
    /// A standby, or a primary that is set to take no writes.
    pub read_only: bool,
    /// Connection slots taken, this one included.
    pub used: i64,
    /// Connection slots that ordinary roles may take.
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

    /// More than four fifths of the slots are taken: environments should take turns.
    pub fn near_capacity(&self) -> bool {
        self.used * 5 > self.usable * 4
    }
}

/// Which session of which server a connection is, as another session sees it in `pg_stat_activity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The server's process, from `pg_backend_pid()`.
    pub pid: i32,
    /// `backend_start` in microseconds since the Unix epoch, exact: process ids are used again.
    pub backend_start: i64,
    /// When the server was started, in microseconds since the Unix epoch: another server started at another time.
    pub server_start: i64,
}

impl SessionIdentity {
    /// `None` if the server does not tell when the session began.
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
