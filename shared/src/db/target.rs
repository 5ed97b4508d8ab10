//! The target of connections: the server, the credentials, the settings of a session, and the kind of a connect error.
//!
//! Invariants: never connects. Immutable, except for three values that all connections share: the credentials, the last
//! writer and the number of stale statements. Depends on: `credentials`, `status` for the statement after a connect,
//! and `classify` for errors that do not depend on the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use super::classify::{RefusalContext, is_managed, kind_of_connect};
use super::credentials::Credentials;
use super::deadline::Deadline;
use super::kind::Kind;
use super::status::{STATUS_QUERY, TRANSACTION_SETTINGS, status_query};
use crate::config::DatabaseUrl;

/// `statement_timeout` if `socket_timeout` is not given: about half of the function's timeout, which leaves time for
/// another attempt.
const STATEMENT: Duration = Duration::from_secs(14);

/// `idle_in_transaction_session_timeout`. Transactions of this crate wait only for the server, so an idle one has lost
/// its client. Not longer: it keeps its locks until then, and if several clients lose a connection on the same row, the
/// waits add up.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);

/// `idle_session_timeout`: the server ends the session of a destroyed environment after this time. Longer than the
/// pool's `MAX_IDLE`, so that the server never closes a connection that the pool would still reuse.
pub const IDLE_SESSION: Duration = Duration::from_secs(10 * 60);

/// The target and parameters of connections; created once from the configuration.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) credentials: Arc<Credentials>,
    application_name: String,
    /// `connect_timeout`: the bound of one connect attempt; `None` for no bound of its own.
    pub(super) attempt: Option<Duration>,
    /// `host:port/database`, for messages; free of secrets.
    pub name: String,
    /// Whether the server is a transaction pooler: then no session state is reliable.
    pub pooled: bool,
    /// Whether prepared statements must not be kept.
    pub(super) disable_statement_cache: bool,
    /// Whether each statement needs an explicit transaction. It does behind a pooler: only a transaction keeps an
    /// unnamed statement on one server connection, and it sets the schema.
    pub(super) needs_transaction: bool,
    /// How often statements kept by a pooler were stale.
    pub(super) stale_statements: Arc<AtomicU32>,
    /// SQL with which an explicit transaction gets the settings that session options would set; behind a pooler only.
    pub local_settings: String,
    /// The server's `statement_timeout`. The client waits a little longer, so that the server's error arrives first.
    pub statement_timeout: Duration,
    /// The statement after each connect: it sets the session up and returns the server's status.
    pub(super) status_query: String,
    /// The index, among the URL's servers, of the one that accepted writes at the last connect.
    pub(super) writer: Arc<AtomicUsize>,
}

impl Target {
    /// Creates the target from the connection string; `application_name` is the function and its version.
    pub fn new(url: &DatabaseUrl, application_name: &str) -> Self {
        let mut local_settings = String::new();
        if url.is_pooled() {
            local_settings.push_str("SET LOCAL transaction_isolation = 'read committed';");
            let idle_in_transaction = IDLE_IN_TRANSACTION.as_millis();
            local_settings.push_str(&format!(
                "SET LOCAL idle_in_transaction_session_timeout = {idle_in_transaction};"
            ));
            for (name, value) in TRANSACTION_SETTINGS {
                local_settings.push_str(&format!("SET LOCAL {name} = '{value}';"));
            }
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
            disable_statement_cache: url.statement_cache_size() == 0,
            needs_transaction: url.is_pooled() && (url.statement_cache_size() == 0 || url.search_path().is_some()),
            stale_statements: Arc::default(),
            local_settings,
            statement_timeout,
            status_query: if url.is_pooled() {
                STATUS_QUERY.to_owned()
            } else {
                status_query(statement_timeout)
            },
            writer: Arc::default(),
        }
    }

    /// Returns the deadline of one attempt: `connect_timeout`, never past `deadline`.
    pub(super) fn within_attempt(&self, deadline: Deadline) -> Deadline {
        self.attempt.map_or(deadline, |attempt| deadline.within(attempt))
    }

    /// Returns the driver's options for one connect. `url` must contain the user and the credential.
    pub(super) fn options(&self, url: &DatabaseUrl) -> PgConnectOptions {
        let options = url.connect_options(&self.application_name);
        if self.pooled {
            // PgBouncer and RDS Proxy reject the `options` startup parameter.
            return options;
        }
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        options.options([
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(IDLE_IN_TRANSACTION)),
            ("idle_session_timeout", milliseconds(IDLE_SESSION)),
        ])
    }

    /// Classifies a connect error, using what is known about the target.
    pub(super) fn kind_of(&self, cause: &sqlx::Error, url: &DatabaseUrl) -> Kind {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        // No such file, a folder, or a file that this process may not read. EPERM is a packet that a firewall rejects.
        let file = |io: &std::io::Error| {
            matches!(io.kind(), NotFound | IsADirectory | PermissionDenied) && io.raw_os_error() != Some(libc::EPERM)
        };
        if matches!(cause, sqlx::Error::Io(io) if file(io)) {
            // The server's socket, or else a certificate file.
            return if url.is_socket() { Kind::Refused } else { Kind::Tls };
        }
        // The client's certificate and key: the only options that the driver reads from files.
        if matches!(cause, sqlx::Error::Configuration(_)) {
            return Kind::Tls;
        }
        // PgBouncer's message, and RDS Proxy's code. No statement has been prepared yet that could be stale.
        let refused = |error: &dyn sqlx::error::DatabaseError| {
            error.message().contains("unsupported startup parameter")
                || error.code().is_some_and(|code| code == "0A000")
        };
        if !self.pooled && cause.as_database_error().is_some_and(refused) {
            return Kind::Pooler;
        }
        let server = RefusalContext {
            managed: is_managed(url.address().0),
            iam: self.credentials.are_iam(),
        };
        kind_of_connect(cause, server)
    }
}
