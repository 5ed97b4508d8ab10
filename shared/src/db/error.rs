//! Why the database could not do what was asked.
//!
//! For operators: [`Error`]'s `Display` is one complete line without SQL parameters or secrets. What a client is told is
//! decided in `http::problem` from [`Kind`] alone; database text never gets there.

use std::fmt;
use std::time::Duration;

use super::receipt::Known;

/// What went wrong, by what an operator would do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing listens at the address.
    Refused,
    /// The host's name did not resolve.
    Unresolvable,
    /// No answer in time: while connecting, acquiring or in a statement (57014).
    Timeout,
    /// The server's certificate or TLS set-up was not accepted.
    Tls,
    /// The credential was refused (28P01, 28000; a pooler's 08P01 that says so).
    Auth,
    /// Secrets Manager did not give the credential, and may in a moment: no answer, throttled, a failure of its own.
    SecretUnreachable,
    /// There is no credential to log in with: Secrets Manager refuses it, it cannot be understood, or the function has
    /// no role to ask or sign with.
    NoCredential,
    /// The database named in the URL does not exist (3D000).
    NoDatabase,
    /// A pooler stands in between that refuses the session's limits at the start-up.
    Pooler,
    /// The server is starting up or shutting down (57P03).
    Starting,
    /// A provider's database that is waking refuses connections: 28000 "no pg_hba.conf entry", XX000 that says retry.
    Waking,
    /// The provider takes no more log-ins at the moment: 53400, or 28000 for an IAM token.
    Throttled,
    /// Every connection slot is taken (53300), or a pooler's.
    Saturated,
    /// The server takes no writes (25006): a standby, or a writer turned reader.
    ReadOnly,
    /// The connection was lost: closed, reset, terminated (57P01, 57P02, 08xxx), out of step.
    Lost,
    /// Transactions got in each other's way (40001, 40P01).
    Conflict,
    /// A lock was not had in time (55P03).
    LockTimeout,
    /// A prepared statement no longer fits the schema or is gone (0A000, 26000, 42P05), or the session is in a failed
    /// transaction that somebody left (25P02): what another connection mends.
    StalePlan,
    /// COMMIT was sent, and nothing could find out whether it was applied.
    CommitUnknown,
    /// The configuration does not allow a connection to be tried.
    Config,
    /// The server refused the statement itself: a defect of ours or of the schema.
    Query,
}

impl Kind {
    /// One word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unresolvable => "unresolvable",
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

    /// What an operator should do next, in one sentence.
    pub fn advice(self, phase: Phase) -> &'static str {
        match self {
            Self::Refused => "check that PostgreSQL runs and that DATABASE_URL names its host and port",
            Self::Unresolvable => "check the host in DATABASE_URL and the resolver of this network",
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
                "see what the server says, and its log; 42501 wants GRANT CONNECT on the database to this role, 42704 \
                 PostgreSQL 14 or newer"
            }
            Self::Query => "compare the schema with the migrations of this build",
        }
    }
}

/// How far the work had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading the configuration.
    Config,
    /// Waiting for one of this environment's connections to be free.
    Acquire,
    /// Opening a connection: DNS, TCP, TLS, authentication, first query.
    Connect,
    /// BEGIN and the statements up to COMMIT.
    Statement,
    /// From sending COMMIT to reading its reply.
    Commit,
}

impl Phase {
    /// One word for logs.
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

/// What a library, or Secrets Manager, said of it; free of secrets.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the database after everything the retry policy allows was tried.
#[derive(Debug)]
pub struct Error {
    /// What went wrong.
    pub kind: Kind,
    /// Where.
    pub phase: Phase,
    /// The server's code, where the server answered.
    pub sqlstate: Option<String>,
    /// The constraint that refused a row, where one did.
    pub constraint: Option<String>,
    /// Attempts made, the first included; 0 when none was (an open circuit).
    pub attempts: u32,
    /// Time spent on all of them.
    pub elapsed: Duration,
    /// The last real cause.
    pub cause: Option<Cause>,
    /// What was being tried, free of secrets: `host:port/database`, or the variable that is wrong.
    pub tried: String,
}

impl Error {
    /// An error of `kind` with the cause's details taken over.
    pub fn new(kind: Kind, phase: Phase, cause: sqlx::Error) -> Self {
        let database = cause.as_database_error();
        Self {
            sqlstate: database.and_then(|e| e.code()).map(|code| code.into_owned()),
            constraint: database.and_then(|e| e.constraint()).map(str::to_owned),
            ..Self::bare(kind, phase).caused_by(cause)
        }
    }

    /// An error that no library error caused.
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

    /// The same, with what caused it.
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same, with what was tried.
    pub fn trying(mut self, what: impl Into<String>) -> Self {
        self.tried = what.into();
        self
    }

    /// The same, with the whole effort: attempts and time spent.
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
                // The driver adds the line of the server's own source, which reads like one of a statement.
                Some(said) => write!(f, ": error returned from database: {}", said.message())?,
                None => write!(f, ": {cause}")?,
            }
        }
        write!(f, "; {}", self.kind.advice(self.phase))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Why a unit of work stopped before its end.
#[derive(Debug)]
pub enum Abort<R> {
    /// A statement failed: the retry table decides what happens.
    Database(sqlx::Error),
    /// The work itself refuses: nothing is applied, nothing is tried again.
    Rejected(R),
    /// The statement of a write was not let in, because of a row under its key.
    Known(Known),
}

impl<R> From<sqlx::Error> for Abort<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
