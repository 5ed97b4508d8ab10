//! The kinds of failure, by the operator's reaction to each, and the advice that fits its phase.

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
    /// All connection slots of the server (53300) or of a pooler are in use, or its memory (53000, 53200) or disk (53100).
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
    /// in a failed transaction of somebody else (25P02): a new connection resolves it.
    StalePlan,
    /// COMMIT was sent, and its outcome could not be determined.
    CommitUnknown,
    /// The configuration is invalid, so no connection is tried.
    Config,
    /// The server rejected the statement itself: a defect of this program or of the schema.
    Query,
}

impl Kind {
    /// Every kind. The length is the number of the last one plus one, so that none is forgotten.
    pub const ALL: [Self; Self::Query as usize + 1] = [
        Self::Refused,
        Self::Unresolvable,
        Self::Unreachable,
        Self::NotPostgresql,
        Self::Timeout,
        Self::Tls,
        Self::Auth,
        Self::SecretUnreachable,
        Self::NoCredential,
        Self::NoDatabase,
        Self::Pooler,
        Self::Starting,
        Self::Waking,
        Self::Throttled,
        Self::Saturated,
        Self::ReadOnly,
        Self::Lost,
        Self::Conflict,
        Self::LockTimeout,
        Self::StalePlan,
        Self::CommitUnknown,
        Self::Config,
        Self::Query,
    ];

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

    /// Returns the state of a database whose outage began with this kind, up to its duration.
    pub(super) fn of_an_outage(self) -> &'static str {
        match self {
            Self::ReadOnly => "the database has rejected writes for",
            // A database that works refuses this client.
            Self::NotPostgresql
            | Self::Tls
            | Self::Auth
            | Self::SecretUnreachable
            | Self::NoCredential
            | Self::NoDatabase
            | Self::Pooler
            | Self::Throttled
            | Self::Query => "connecting to the database has failed for",
            Self::Refused
            | Self::Unresolvable
            | Self::Unreachable
            | Self::Timeout
            | Self::Starting
            | Self::Waking
            | Self::Saturated
            | Self::Lost
            | Self::Conflict
            | Self::LockTimeout
            | Self::StalePlan
            | Self::CommitUnknown
            | Self::Config => "the database has been down for",
        }
    }

    /// Returns the operator's next step, in one sentence. What an open connection suffers is not blamed on the way to it.
    pub fn advice(self, phase: Phase) -> &'static str {
        let running = matches!(phase, Phase::Statement | Phase::Commit);
        if phase == Phase::Acquire {
            return if self == Self::Lost {
                "nothing: this environment is shutting down"
            } else {
                "look for slow statements and for locks held by others, and let connection_limit in DATABASE_URL be no less \
                 than AWS_LAMBDA_MAX_CONCURRENCY"
            };
        }
        match self {
            Self::Refused | Self::Unresolvable | Self::Unreachable | Self::NotPostgresql | Self::Tls if running => {
                "the connection was open and then broke: look for a change of the network, the server or a proxy in \
                 between at this time"
            }
            Self::Refused => "check that PostgreSQL runs and that DATABASE_URL names its host and port",
            Self::Unresolvable => "check the host in DATABASE_URL and the resolver of this network",
            Self::Unreachable => {
                "give this network a route to the address (route table, NAT or egress-only gateway, VPN); for an IPv6 \
                 address enable IPv6 here, or use a name with an IPv4 address"
            }
            Self::NotPostgresql => {
                "correct host and port in DATABASE_URL (PostgreSQL's port is 5432): another service listens there"
            }
            Self::Timeout if phase == Phase::Commit => {
                "look for a synchronous standby that does not confirm, then at the server's load and disk"
            }
            Self::Timeout if running => {
                "look in pg_locks for who holds a lock that the statement waits for, then for what makes it slow; without \
                 an SQLSTATE here, the server or the path to it stopped answering"
            }
            Self::Timeout => "check the route to the server (security group, subnet), and its load",
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
                 DATABASE_IAM_AUTH, check rds-db:connect, and that DATABASE_URL has the endpoint's own name: a token for an \
                 alias (CNAME) is refused in the same words"
            }
            Self::Saturated => {
                "raise max_connections (or the CONNECTION LIMIT of the role or database that the message names), lower \
                 concurrency or put a pooler in front"
            }
            Self::ReadOnly => "point DATABASE_URL at the writer, and end default_transaction_read_only",
            Self::Lost if phase == Phase::Connect => {
                "look in the server's log for why it ended the log-in; without a line there, look at the load balancer, \
                 pooler or firewall in between"
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 5] = [
        Phase::Config,
        Phase::Acquire,
        Phase::Connect,
        Phase::Statement,
        Phase::Commit,
    ];

    /// The words of one layer, which an error of another must not name.
    const OF_THE_WAY: [&str; 6] = [
        "security group",
        "subnet",
        "route",
        "resolver",
        "sslmode",
        "host and port",
    ];
    const OF_STATEMENTS: [&str; 4] = ["pg_locks", "locks held", "slow", "migrations"];

    /// Columns: while connecting, while a statement runs, while a commit is awaited. While waiting for a connection of
    /// this environment there is one advice, and in the configuration each kind has that of connecting.
    const ADVICE: [(Kind, &str, &str, &str); 23] = [
        (Kind::Refused, "check that PostgreSQL runs", BROKE, BROKE),
        (Kind::Unresolvable, "check the host", BROKE, BROKE),
        (Kind::Unreachable, "give this network a route", BROKE, BROKE),
        (Kind::NotPostgresql, "correct host and port", BROKE, BROKE),
        (
            Kind::Timeout,
            "check the route to the server (security group, subnet)",
            "look in pg_locks",
            "look for a synchronous standby",
        ),
        (Kind::Tls, "check sslmode and sslrootcert", BROKE, BROKE),
        (Kind::Auth, "check user and password", SAME, SAME),
        (
            Kind::SecretUnreachable,
            "check this function's route to Secrets Manager",
            SAME,
            SAME,
        ),
        (Kind::NoCredential, "check DATABASE_SECRET_ARN", SAME, SAME),
        (Kind::NoDatabase, "create the database", SAME, SAME),
        (Kind::Pooler, "add pgbouncer=true", SAME, SAME),
        (Kind::Starting, "wait for the server's recovery", SAME, SAME),
        (Kind::Waking, "wait for the provider to wake the database", SAME, SAME),
        (
            Kind::Throttled,
            "lower concurrency or put a pooler in front",
            SAME,
            SAME,
        ),
        (Kind::Saturated, "raise max_connections", SAME, SAME),
        (Kind::ReadOnly, "point DATABASE_URL at the writer", SAME, SAME),
        (
            Kind::Lost,
            "look in the server's log for why it ended the log-in",
            "look in the server's log for a restart",
            "look in the server's log for a restart",
        ),
        (
            Kind::Conflict,
            "look for transactions that touch the same rows",
            SAME,
            SAME,
        ),
        (Kind::LockTimeout, "look in pg_locks for who holds the lock", SAME, SAME),
        (Kind::StalePlan, "nothing, if it follows a migration", SAME, SAME),
        (Kind::CommitUnknown, "compare the request's Idempotency-Key", SAME, SAME),
        (Kind::Config, "correct the variable", SAME, SAME),
        (
            Kind::Query,
            "read the server's message",
            "compare the schema with the migrations",
            "compare the schema with the migrations",
        ),
    ];

    const BROKE: &str = "the connection was open and then broke";
    const SAME: &str = "";

    #[test]
    fn advice_fits_kind_and_phase() {
        let expected = |kind: Kind, phase: Phase| {
            let row = ADVICE.iter().find(|(of, ..)| *of == kind);
            let (_, connecting, statement, commit) = *row.unwrap_or_else(|| panic!("no row for {kind:?}"));
            match phase {
                Phase::Acquire if kind == Kind::Lost => "nothing: this environment is shutting down",
                Phase::Acquire => "look for slow statements",
                Phase::Statement if statement != SAME => statement,
                Phase::Commit if commit != SAME => commit,
                // A statement whose schema does not fit is no defect of the configuration.
                Phase::Config if kind == Kind::Query => "compare the schema",
                Phase::Config if kind == Kind::Lost => "look in the server's log for a restart",
                Phase::Config | Phase::Connect | Phase::Statement | Phase::Commit => connecting,
            }
        };
        for (kind, ..) in ADVICE {
            for phase in PHASES {
                let advice = kind.advice(phase);
                let expected = expected(kind, phase);
                assert!(
                    advice.starts_with(expected),
                    "{kind:?} in {phase:?}: {advice}, not {expected}"
                );
            }
        }
    }

    /// The kinds of `verdict` that occur in both phases, and so could blame the other.
    #[test]
    fn advice_blames_no_other_layer() {
        let both = [
            Kind::Refused,
            Kind::Unreachable,
            Kind::NotPostgresql,
            Kind::Tls,
            Kind::Timeout,
            Kind::Lost,
        ];
        for kind in both {
            for (phase, foreign) in [
                (Phase::Connect, &OF_STATEMENTS[..]),
                (Phase::Statement, &OF_THE_WAY),
                (Phase::Commit, &OF_THE_WAY),
            ] {
                let advice = kind.advice(phase);
                let blamed = foreign.iter().find(|word| advice.contains(**word));
                assert_eq!(blamed, None, "{kind:?} in {phase:?}: {advice}");
            }
        }
        for kind in [Kind::LockTimeout, Kind::Conflict] {
            let advice = kind.advice(Phase::Statement);
            assert!(!OF_THE_WAY.iter().any(|word| advice.contains(word)), "{advice}");
        }
    }
}
