//! Why a database operation failed.
//!
//! For operators: [`Error`]'s `Display` is one complete line without SQL parameters or secrets. `http::problem` derives
//! the client's message from [`Kind`] alone; database text never reaches it.

use std::fmt;
use std::time::Duration;

use super::known::Known;

/// The kind of failure, by the operator's reaction to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing listens at the address.
    Refused,
    /// The host name did not resolve.
    Unresolvable,
    /// This network has no route to the address.
    Unreachable,
    /// A program that is not PostgreSQL listens at the address.
    NotPostgresql,
    /// No answer in time: while connecting, acquiring or in a statement (57014).
    Timeout,
    /// The server's certificate or TLS configuration was rejected.
    Tls,
    /// The credential was rejected (28P01, 28000; a pooler's 08P01 with such a message).
    Auth,
    /// Secrets Manager did not return the credential, but may soon: no answer, throttled, an internal error.
    SecretUnreachable,
    /// There is no credential to log in with: Secrets Manager denies access, its content is invalid, or the function
    /// has no role to request or sign with.
    NoCredential,
    /// The database named in the URL does not exist (3D000).
    NoDatabase,
    /// A pooler rejects the session's limits at start-up.
    Pooler,
    /// The server is starting up or shutting down (57P03).
    Starting,
    /// A provider's resuming database rejects connections: 28000 "no pg_hba.conf entry", XX000 with a request to retry.
    Waking,
    /// The provider temporarily limits log-ins: 53400, or 28000 for an IAM token.
    Throttled,
    /// All connection slots of the server (53300) or of a pooler are in use.
    Saturated,
    /// The server rejects writes (25006): a standby, or a writer that became one.
    ReadOnly,
    /// The connection was lost: closed, reset, terminated (57P01, 57P02, 08xxx), out of sync.
    Lost,
    /// Concurrent transactions conflicted (40001, 40P01).
    Conflict,
    /// A lock was not acquired in time (55P03).
    LockTimeout,
    /// A prepared statement no longer matches the schema or no longer exists (0A000, 26000, 42P05), or the session is
    /// in an abandoned failed transaction (25P02): a new connection resolves it.
    StalePlan,
    /// COMMIT was sent, and its outcome could not be determined.
    CommitUnknown,
    /// The configuration is invalid, so no connection is tried.
    Config,
    /// The server rejected the statement itself: a defect of this program or of the schema.
    Query,
}

impl Kind {
    /// Returns one word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unresolvable => "unresolvable",
            Self::Unreachable => "unreachable",
            Self::NotPostgresql => "not-postgresql",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::SecretUnreachable => "secret-unreachable",
            Self::NoCredential => "no-credential",
            Self::NoDatabase => "no-database",
            Self::Pooler => "pooler",
            Self::Starting => "starting",
            Self::Waking => "waking",
            Self::Throttled => "throttled",
            Self::Saturated => "saturated",
            Self::ReadOnly => "read-only",
            Self::Lost => "lost",
            Self::Conflict => "conflict",
            Self::LockTimeout => "lock-timeout",
            Self::StalePlan => "stale-plan",
            Self::CommitUnknown => "commit-unknown",
            Self::Config => "config",
            Self::Query => "query",
        }
    }

    /// Returns the operator's next step, in one sentence.
    pub fn advice(self, phase: Phase) -> &'static str {
        match self {
            Self::Refused => "check that PostgreSQL runs and that DATABASE_URL names its host and port",
            Self::Unresolvable => "check the host in DATABASE_URL and the resolver of this network",
            Self::Unreachable => {
                "give this network a route to the address (route table, NAT or egress-only gateway, VPN); for an IPv6 \
                 address enable IPv6 here, or use a name with an IPv4 address"
            }
            Self::NotPostgresql => {
                "correct host and port in DATABASE_URL (PostgreSQL's port is 5432): another service listens there"
            }
            Self::Timeout if phase == Phase::Acquire => {
                "look for slow statements and for locks held by others, and let connection_limit in DATABASE_URL be no \
                 less than AWS_LAMBDA_MAX_CONCURRENCY"
            }
            Self::Timeout => {
                "check the route to the server (security group, subnet), its load, and locks held by others"
            }
            Self::Tls => "check sslmode and sslrootcert in DATABASE_URL against the server's certificate",
            Self::Auth => {
                "check user and password in DATABASE_URL or the secret, and pg_hba.conf; with DATABASE_IAM_AUTH, \
                 rds-db:connect and rds_iam"
            }
            Self::SecretUnreachable => {
                "check this function's route to Secrets Manager (in a VPC an interface endpoint or a NAT gateway), and \
                 its quotas"
            }
            Self::NoCredential => {
                "check DATABASE_SECRET_ARN, that the function's role may secretsmanager:GetSecretValue on it (and \
                 kms:Decrypt with its key), and what the secret holds"
            }
            Self::NoDatabase => "create the database, or correct its name in DATABASE_URL",
            Self::Pooler => "add pgbouncer=true to DATABASE_URL: PgBouncer or RDS Proxy stands in between",
            Self::Starting => "wait for the server's recovery; its log says how far it is",
            Self::Waking => {
                "wait for the provider to wake the database; if it stays refused, check pg_hba.conf or the provider's \
                 rules on who may connect, and its quotas"
            }
            Self::Throttled => {
                "lower concurrency or put a pooler in front, so that fewer connections log in at once; if it lasts with \
                 DATABASE_IAM_AUTH, check rds-db:connect"
            }
            Self::Saturated => "raise max_connections, lower concurrency or put a pooler in front",
            Self::ReadOnly => "point DATABASE_URL at the writer, and end default_transaction_read_only",
            Self::Lost => "look in the server's log for a restart, a termination or a crash at this time",
            Self::Conflict => "look for transactions that touch the same rows",
            Self::LockTimeout => "look in pg_locks for who holds the lock",
            Self::StalePlan => "nothing, if it follows a migration; else look for a pooler that needs pgbouncer=true",
            Self::CommitUnknown => "compare the request's Idempotency-Key with the table receipts",
            Self::Config => "correct the variable the message names",
            Self::Query if phase == Phase::Connect => {
                "read the server's message, and its log; for 42501 GRANT CONNECT on the database to this role; 42704 \
                 needs PostgreSQL 14 or newer"
            }
            Self::Query => "compare the schema with the migrations of this build",
        }
    }
}

/// The progress of the work at the time of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading the configuration.
    Config,
    /// Waiting for a free connection of this environment.
    Acquire,
    /// Opening a connection: DNS, TCP, TLS, authentication, first query.
    Connect,
    /// BEGIN and the statements up to COMMIT.
    Statement,
    /// From sending COMMIT to reading its reply.
    Commit,
}

impl Phase {
    /// Returns one word for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Acquire => "acquire",
            Self::Connect => "connect",
            Self::Statement => "statement",
            Self::Commit => "commit",
        }
    }
}

/// The error of a library, or of Secrets Manager; free of secrets.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A database failure after all attempts that the retry policy allows.
#[derive(Debug)]
pub struct Error {
    /// The kind of failure.
    pub kind: Kind,
    /// The phase in which it occurred.
    pub phase: Phase,
    /// The server's SQLSTATE, if the server answered.
    pub sqlstate: Option<String>,
    /// The violated constraint, if any.
    pub constraint: Option<String>,
    /// The number of attempts, including the first; 0 if there was none (an open circuit).
    pub attempts: u32,
    /// Time spent on all of them.
    pub elapsed: Duration,
    /// The last real cause.
    pub cause: Option<Cause>,
    /// The subject of the failed operation, free of secrets: `host:port/database`, or the invalid variable.
    pub tried: String,
}

impl Error {
    /// Returns an error of `kind` with the details of its cause.
    pub fn new(kind: Kind, phase: Phase, cause: sqlx::Error) -> Self {
        let database = cause.as_database_error();
        Self {
            sqlstate: database.and_then(|e| e.code()).map(|code| code.into_owned()),
            constraint: database.and_then(|e| e.constraint()).map(str::to_owned),
            ..Self::bare(kind, phase).caused_by(cause)
        }
    }

    /// Returns an error without a library error as its cause.
    pub fn bare(kind: Kind, phase: Phase) -> Self {
        Self {
            kind,
            phase,
            sqlstate: None,
            constraint: None,
            attempts: 1,
            elapsed: Duration::ZERO,
            cause: None,
            tried: String::new(),
        }
    }

    /// Sets the cause.
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Sets the subject of the failed operation.
    pub fn trying(mut self, what: impl Into<String>) -> Self {
        self.tried = what.into();
        self
    }

    /// Sets the totals of the retry loop: attempts and elapsed time.
    pub fn after(mut self, attempts: u32, elapsed: Duration) -> Self {
        self.attempts = attempts;
        self.elapsed = elapsed;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} during {}", self.kind.name(), self.phase.name())?;
        if !self.tried.is_empty() {
            write!(f, " ({})", self.tried)?;
        }
        write!(
            f,
            " after {} attempt(s) in {} ms",
            self.attempts,
            self.elapsed.as_millis()
        )?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, ", SQLSTATE {sqlstate}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, ", constraint {constraint}")?;
        }
        if let Some(cause) = &self.cause {
            let library = cause.downcast_ref::<sqlx::Error>();
            match library.and_then(sqlx::Error::as_database_error) {
                // The driver appends the line of the server's own source, which looks like a line of the statement.
                Some(said) => write!(f, ": error returned from database: {}", said.message())?,
                None => write!(f, ": {cause}")?,
            }
        }
        let certificate = self
            .cause
            .as_ref()
            .and_then(|cause| about_certificate(&cause.to_string()));
        write!(f, "; {}", certificate.unwrap_or_else(|| self.kind.advice(self.phase)))
    }
}

/// Returns what to do about a server's certificate that OpenSSL takes, and the TLS library of this program does not.
pub fn about_certificate(problem: &str) -> Option<&'static str> {
    if problem.contains("UnsupportedCertVersion") {
        return Some(
            "the server's certificate has X.509 version 1, which only OpenSSL takes: make one of version 3, with the \
             host in subjectAltName (openssl req -x509 makes version 3)",
        );
    }
    if problem.contains("CaUsedAsEndEntity") {
        return Some(
            "the server's certificate is that of an authority (CA:TRUE), which only OpenSSL takes: sign another for the \
             server with it, CA:FALSE and the host in subjectAltName, and keep sslrootcert",
        );
    }
    None
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Why a unit of work stopped before its end.
#[derive(Debug)]
pub enum Abort<R> {
    /// A statement failed: the retry table decides the reaction.
    Database(sqlx::Error),
    /// The work itself rejects the request: nothing is applied, and nothing is retried.
    Rejected(R),
    /// The statement of a write was not let in, because of a row under its key.
    Known(Known),
}

/// Returns the error of a statement that was not answered in the time that was left.
pub(super) fn late() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "no answer within the time left",
    ))
}

impl<R> From<Known> for Abort<R> {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

impl<R> From<sqlx::Error> for Abort<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
