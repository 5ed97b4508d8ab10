//! Opening a connection: one bounded attempt, and the effort of several.
//!
//! Relies on `socket` for the options sqlx does not set, on `retry` for the waits and on `classify` for what is worth
//! another attempt. The last real cause is always kept. A dropped future closes its socket; nothing runs on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::classify::{Server, Verdict, is_managed, kind_of, kind_of_connect, verdict};
use super::clock::Moment;
use super::credentials::Credentials;
use super::deadline::Deadline;
use super::error::{Error, Kind, Phase};
use super::retry::{Policy, RetryLoop};
use super::session::Session;
use super::socket::{Peek, SocketHandle, Tuned};
use crate::config::{DatabaseUrl, RetryConfig};

/// `statement_timeout` when `socket_timeout` is not given: about half of the function's timeout, which leaves
/// room for another try.
const STATEMENT: Duration = Duration::from_secs(14);

/// Our transactions never wait for anything but the server; one that idles has lost its client. Not longer: it holds
/// its locks until then, and several lost in a row on one row are waited for one after another.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);

/// The server reaps what a destroyed environment leaves behind after this long. Longer than `MAX_IDLE`, so that a
/// connection we still trust is never one that the server has closed.
pub const IDLE_SESSION: Duration = Duration::from_secs(10 * 60);

/// How much longer than one statement a whole transaction may take (PostgreSQL 17 and later): `statement_timeout` does
/// not end a session that received Bind and Execute and never Sync, which keeps its locks.
const TRANSACTION_TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

/// How often the server looks for a closed client while a statement waits, so that it does not apply a statement long
/// after its client has gone.
const CLIENT_CONNECTION_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Settings that every session gets, whatever its role or its database says, so that SQL means the same everywhere.
///
/// Not set here: `DateStyle`, `TimeZone` and `client_encoding` (the driver sends them at the start-up, which outranks a
/// role's settings, as do the limits in [`Target::options`]), `search_path` and `default_transaction_read_only` (an
/// operator means them; the second is reported), `lock_timeout` (a statement that it ends was not applied and runs
/// again), `synchronous_commit` (durability is the operator's decision), `default_transaction_deferrable` (acts on
/// serializable transactions only), and what changes neither a result nor an error, such as the planner's costs.
const SESSION_SETTINGS: [(&str, &str); 10] = [
    // Planning costs as much as running: once a statement, instead of five times and with each NULL parameter.
    ("plan_cache_mode", "force_generic_plan"),
    // A statement that waited for a row looks at the row as it is then.
    ("default_transaction_isolation", "read committed"),
    // What is an escape in a literal, and whether `= NULL` and `NULL` in an array's text mean NULL.
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // What values look like as text, and so in jsonb.
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
const STATUS_QUERY: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only, \
    (SELECT sum(pg_stat_get_db_numbackends(oid)) FROM pg_database)::int8 AS used, \
    current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
    - coalesce(current_setting('reserved_connections', true), '0')::int8 AS usable, \
    pg_backend_pid() AS pid, \
    (SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_get_activity(pg_backend_pid())) \
    AS backend_start, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS server_start";

/// The one statement after each connect, over the simple protocol: one round trip. Where the session is ours it also
/// sets the session up; what a server does not know is never evaluated.
fn status_query(statement_timeout: Duration) -> String {
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

/// Where and how to connect; made once from the configuration.
#[derive(Clone, Debug)]
pub struct Target {
    credentials: Arc<Credentials>,
    application_name: String,
    attempt: Option<Duration>,
    /// `host:port/database`, for messages; free of secrets.
    pub name: String,
    /// Whether a transaction pooler stands in between: then no session state may be relied on.
    pub pooled: bool,
    /// Whether prepared statements may not be kept.
    unnamed: bool,
    /// Whether each statement needs an explicit transaction: behind a pooler, where an unnamed statement stays on one
    /// server connection only within one, and where the schema is set within it.
    pub(super) needs_transaction: bool,
    /// How often statements kept by a pooler were found to be stale.
    pub(super) stale_statements: Arc<AtomicU32>,
    /// SQL that gives an explicit transaction what session options would have given it; behind a pooler only.
    pub local_settings: String,
    /// The longest any statement may run.
    pub statement_timeout: Duration,
    status_query: String,
}

impl Target {
    /// From the connection string; `application_name` is the function and its version.
    pub fn new(url: &DatabaseUrl, application_name: &str) -> Self {
        let mut local_settings = String::new();
        if url.is_pooled() {
            let idle_in_transaction = IDLE_IN_TRANSACTION.as_millis();
            local_settings = format!("SET LOCAL idle_in_transaction_session_timeout = {idle_in_transaction};");
            if let Some(search_path) = url.search_path() {
                local_settings.push_str(&format!("SET LOCAL search_path = {search_path};"));
            }
        }
        let statement_timeout = url.socket_timeout().unwrap_or(STATEMENT);
        Self {
            credentials: Arc::new(Credentials::new(url)),
            application_name: application_name.to_owned(),
            attempt: url.connect_timeout(),
            name: url.target(),
            pooled: url.is_pooled(),
            unnamed: url.statement_cache_size() == 0,
            needs_transaction: url.is_pooled() && (url.statement_cache_size() == 0 || url.search_path().is_some()),
            stale_statements: Arc::default(),
            local_settings,
            statement_timeout,
            status_query: if url.is_pooled() {
                STATUS_QUERY.to_owned()
            } else {
                status_query(statement_timeout)
            },
        }
    }

    /// For one connect, with a URL that is complete.
    fn options(&self, url: &DatabaseUrl) -> PgConnectOptions {
        let options = url.connect_options(&self.application_name);
        if self.pooled {
            // PgBouncer and RDS Proxy refuse the `options` startup parameter.
            return options;
        }
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        options.options([
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(IDLE_IN_TRANSACTION)),
            ("idle_session_timeout", milliseconds(IDLE_SESSION)),
        ])
    }

    /// Sorts a failure to connect; some mean more to who knows where it was going.
    fn kind_of(&self, cause: &sqlx::Error, url: &DatabaseUrl) -> Kind {
        let missing = matches!(cause, sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::NotFound);
        if missing {
            // No socket where the server's would be, or else no file where a certificate should be.
            return if url.is_socket() { Kind::Refused } else { Kind::Tls };
        }
        // PgBouncer's words, and RDS Proxy's code. Nothing of ours is prepared yet that could be stale.
        let refused = |error: &dyn sqlx::error::DatabaseError| {
            error.message().contains("unsupported startup parameter")
                || error.code().is_some_and(|code| code == "0A000")
        };
        if !self.pooled && cause.as_database_error().is_some_and(refused) {
            return Kind::Pooler;
        }
        let server = Server {
            managed: is_managed(url.address().0),
            iam: self.credentials.are_iam(),
        };
        kind_of_connect(cause, server)
    }
}

/// What the server said of itself when the connection was made.
#[derive(Clone, Copy, Debug)]
pub struct ServerStatus {
    /// A standby, or a primary told to take no writes.
    pub read_only: bool,
    /// Connection slots taken, this one included.
    pub used: i64,
    /// Connection slots that ordinary roles may take.
    pub usable: i64,
}

impl ServerStatus {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
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
    fn from_row(row: &PgRow) -> Result<Option<Self>, sqlx::Error> {
        let (pid, server_start) = (row.try_get("pid")?, row.try_get("server_start")?);
        let backend_start: Option<i64> = row.try_get("backend_start")?;
        Ok(backend_start.map(|backend_start| Self {
            pid,
            backend_start,
            server_start,
        }))
    }
}

/// An open connection and what is known of it.
#[derive(Debug)]
pub struct Connection {
    pub(super) session: Session,
    pub(super) identity: Option<SessionIdentity>,
    /// `None` over a Unix socket.
    pub(super) socket: Option<SocketHandle>,
    pub(super) opened: Moment,
    pub(super) used: Moment,
    pub(super) connected_in: Duration,
    /// The last round trip seen while nothing else was going on.
    pub(super) round_trip: Duration,
    pub(super) status: ServerStatus,
}

impl Connection {
    /// Which session this is; `None` behind a pooler, where the next transaction may run on another.
    pub fn identity(&self) -> Option<SessionIdentity> {
        self.identity
    }

    /// How long the whole connect took, from the credential to the status.
    pub fn connected_in(&self) -> Duration {
        self.connected_in
    }

    /// What has arrived on the connection while it was not used. Quiet over a Unix socket, where nothing can be known:
    /// then the statement itself is the check. TLS may hold back bytes that it has already read; those are answers.
    pub(super) fn peek(&self) -> Peek {
        self.socket.map_or(Peek::Quiet, SocketHandle::peek)
    }

    /// Whether the server answers by `deadline`. One round trip. If not, the connection must be dropped.
    pub(super) async fn ping(&mut self, deadline: Deadline) -> bool {
        let asked = Moment::now();
        let answered = timeout(deadline.left(), self.session.connection.ping()).await;
        if !matches!(answered, Ok(Ok(()))) {
            return false;
        }
        self.round_trip = asked.elapsed();
        self.used = Moment::now();
        true
    }

    /// Asks one question, once: for health, which wants the truth and no second try. Unnamed statements get a
    /// transaction, without which a pooler may send Bind where Parse has not been; not a read-only one, which would
    /// say of every server that it takes no writes.
    ///
    /// # Errors
    /// `Statement` with the cause, or a timeout at `deadline`. The connection is only good for closing then.
    pub async fn ask<T, W>(&mut self, deadline: Deadline, work: W) -> Result<T, Error>
    where
        W: AsyncFn(&mut Session) -> Result<T, sqlx::Error>,
    {
        let session = &mut self.session;
        let asked = async {
            if !session.unnamed {
                return work(session).await;
            }
            session.execute(sqlx::raw_sql("BEGIN")).await?;
            let answer = work(session).await?;
            session.execute(sqlx::raw_sql("ROLLBACK")).await?;
            Ok(answer)
        };
        match timeout(deadline.left(), asked).await {
            Ok(answered) => answered.map_err(|cause| Error::new(kind_of(&cause), Phase::Statement, cause)),
            Err(_) => Err(Error::bare(Kind::Timeout, Phase::Statement)),
        }
    }

    /// Says goodbye to the server, so that the slot is free at once. Bounded; the connection is gone either way.
    pub async fn close(self) {
        let _ = timeout(Duration::from_millis(100), self.session.connection.close()).await;
    }
}

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reads: a standby will do.
    Read,
    /// Statements that are not run again after a lost connection. A standby will do: whether a write follows is unknown.
    Unrepeatable,
    /// Writes: a server that takes none is no use.
    Write,
}

/// The URL that a connection opened now would log in with: `url` itself, or what its secret or a token makes of it. For
/// tools that go the way to the server step by step.
///
/// # Errors
/// [`Kind::SecretUnreachable`] or [`Kind::NoCredential`], within half of what `deadline` leaves.
pub async fn complete(url: &DatabaseUrl, deadline: Deadline) -> Result<Arc<DatabaseUrl>, Error> {
    let found = Credentials::new(url).get(deadline).await;
    found.map_err(|failed| failed.trying(url.target()))
}

/// One attempt: the credential, DNS, TCP, TLS, authentication and the status, all within one bound.
pub async fn connect_once(target: &Target, purpose: Purpose, deadline: Deadline) -> Result<Connection, Error> {
    let left = deadline.left();
    let bound = target.attempt.map_or(left, |attempt| attempt.min(left));
    let since = Moment::now();
    let opened = timeout(bound, log_in(target, Deadline::after(bound))).await;
    let failed = match opened {
        Ok(Ok(live)) if live.status.read_only && purpose == Purpose::Write => {
            live.close().await;
            Error::bare(Kind::ReadOnly, Phase::Connect)
        }
        Ok(Ok(mut live)) => {
            live.connected_in = since.elapsed();
            return Ok(live);
        }
        Ok(Err(failed)) => failed,
        Err(_) => Error::bare(Kind::Timeout, Phase::Connect),
    };
    let failed = if failed.tried.is_empty() {
        failed.trying(&target.name)
    } else {
        failed
    };
    Err(failed.after(1, since.elapsed()))
}

/// Opens a connection with the credential at hand, and with each other that there is while the server refuses them.
async fn log_in(target: &Target, deadline: Deadline) -> Result<Connection, Error> {
    let mut url = target.credentials.get(deadline).await?;
    loop {
        let failed = match open(target, &url).await {
            Ok(live) => {
                target.credentials.accepted();
                return Ok(live);
            }
            Err(cause) => Error::new(target.kind_of(&cause, &url), Phase::Connect, cause).trying(url.target()),
        };
        match target.credentials.refused(&url, failed.kind, deadline).await? {
            Some(other) => url = other,
            None => return Err(failed),
        }
    }
}

async fn open(target: &Target, url: &DatabaseUrl) -> Result<Connection, sqlx::Error> {
    let options = target.options(url);
    #[expect(clippy::disallowed_methods, reason = "this is the one door")]
    let connect = PgConnection::connect_with(&options);
    let mut connect = Tuned::new(connect, url);
    let mut connection = (&mut connect).await?;
    let opened = Moment::now();
    let status_query = sqlx::raw_sql(AssertSqlSafe(target.status_query.clone()));
    let row = connection.fetch_one(status_query).await?;
    let identity = SessionIdentity::from_row(&row)?;
    Ok(Connection {
        status: ServerStatus::from_row(&row)?,
        identity: identity.filter(|_| !target.pooled),
        socket: connect.socket(),
        session: Session {
            connection,
            unnamed: target.unnamed,
            version: target.stale_statements.load(Ordering::Relaxed),
            client_timeout: None,
            in_transaction: false,
        },
        opened,
        used: Moment::now(),
        connected_in: Duration::ZERO,
        round_trip: opened.elapsed(),
    })
}

/// Attempts until one succeeds, the cause is permanent, or `deadline` or the attempts are spent.
pub async fn connect_with_retry(
    target: &Target,
    purpose: Purpose,
    retry: &RetryConfig,
    deadline: Deadline,
) -> Result<Connection, Error> {
    let mut retries = RetryLoop::new(Policy::Connect, retry, deadline);
    let mut last: Option<Error> = None;
    loop {
        let failed = match connect_once(target, purpose, deadline).await {
            Ok(live) => return Ok(live),
            // An attempt that the deadline cut short says less than the one before it.
            Err(cut) if cut.kind == Kind::Timeout && deadline.is_past() => last.take().unwrap_or(cut),
            Err(failed) => failed,
        };
        let slow = |kind| kind == Kind::Saturated || kind == Kind::Throttled;
        if slow(failed.kind) && last.as_ref().is_none_or(|last| !slow(last.kind)) {
            retries.follow(Policy::Saturated);
        }
        let again = match verdict(Phase::Connect, failed.kind, true) {
            Verdict::Permanent | Verdict::Ambiguous => false,
            Verdict::ReconnectOnce => retries.first_reconnect() && retries.next_attempt().await,
            Verdict::Transient | Verdict::Reconnect => retries.next_attempt().await,
        };
        if !again {
            return Err(failed.after(retries.attempt(), retries.elapsed()));
        }
        last = Some(failed);
    }
}
