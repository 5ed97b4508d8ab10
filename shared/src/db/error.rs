//! Why a database operation failed.
//!
//! For operators: [`Error`]'s `Display` is one complete line without SQL parameters or secrets. `http::problem` derives
//! the client's message from [`Kind`] alone; database text never reaches it.

use std::fmt;
use std::time::Duration;

use super::kind::{Kind, Phase};
use super::known::Known;

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
    /// The number of attempts of the request: each failed connect, and each time that its statement was sent. 0 if
    /// nothing was tried.
    pub attempts: u32,
    /// Time spent on all of them, and on waiting for a connection.
    pub elapsed: Duration,
    /// The age of the outage because of which nothing was tried.
    pub outage: Option<Duration>,
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
            outage: None,
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

    /// Marks it as refused without an attempt, because of an outage of this age.
    pub fn refused(mut self, outage: Duration) -> Self {
        self.outage = Some(outage);
        self.after(0, Duration::ZERO)
    }

    /// Sets the totals of the request: attempts and elapsed time.
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
        self.write_effort(f)?;
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
        let particular = certificate
            .or_else(|| self.about_statement())
            .or_else(|| self.about_missing_library());
        write!(f, "; {}", particular.unwrap_or_else(|| self.kind.advice(self.phase)))
    }
}

impl Error {
    /// Returns what to do about the SQLSTATE of a statement, where the kind says too little.
    fn about_statement(&self) -> Option<&'static str> {
        if !matches!(self.phase, Phase::Statement | Phase::Commit) {
            return None;
        }
        let code = self.sqlstate.as_deref()?;
        match code {
            // A table, column, type, function or schema that the server did not find.
            "42P01" | "42703" | "42704" | "42883" | "3F000" => Some(
                "compare the schema with the migrations of this build; if all are applied, the session looks into \
                 another schema: correct schema= in DATABASE_URL, or without it the role's search_path (ALTER ROLE … SET \
                 search_path = …), to the schema of the tables",
            ),
            "42501" => Some(
                "let the owner of what the message names GRANT this role the right; if it names row-level security, the \
                 table needs a policy for the role",
            ),
            "53100" => Some(
                "enlarge the server's disk; delete nothing in pg_wal: a replication slot or a failing archive_command may \
                 be what keeps it",
            ),
            "53000" | "53200" => {
                Some("the server is out of memory: lower work_mem or max_connections, or give it more")
            }
            "58000" | "58030" | "58P01" => Some(
                "look at the server's disk, and in its log: it cannot read or write the file that the message names",
            ),
            "XX001" | "XX002" => {
                Some("data or an index is corrupt: stop writing, copy the files, then restore a backup")
            }
            _ if code.starts_with("23") => {
                Some("report it with the constraint: a row violates one that this program should have checked")
            }
            _ if code.starts_with("54") => {
                Some("raise the limit that the message names; if it is transaction ids, vacuum the oldest tables")
            }
            _ => None,
        }
    }

    /// Returns what to do if the server cannot load a library with which each session of the role begins.
    fn about_missing_library(&self) -> Option<&'static str> {
        let missing = self.phase == Phase::Connect && self.sqlstate.as_deref() == Some("58P01");
        missing.then_some(
            "install the library, or take it out of session_preload_libraries and local_preload_libraries of the role, the \
             database and the server (ALTER ROLE … RESET …)",
        )
    }

    /// Writes what was tried, or why nothing was.
    fn write_effort(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.elapsed.as_millis();
        match (self.attempts, self.outage) {
            (0, Some(outage)) => {
                let state = self.kind.of_an_outage();
                match outage.as_secs() {
                    0 => write!(f, ", not tried: {state} {} ms", outage.as_millis()),
                    seconds => write!(f, ", not tried: {state} {seconds} s"),
                }
            }
            (0, None) if self.phase == Phase::Acquire => write!(f, ", not tried: none was free for {took} ms"),
            (0, None) => f.write_str(", not tried"),
            (1, _) => write!(f, " after 1 attempt in {took} ms"),
            (attempts, _) => write!(f, " after {attempts} attempts in {took} ms"),
        }
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
    if problem.contains("sslcert") || problem.contains("sslkey") {
        return Some("let sslcert name the client's certificate, and sslkey its key without a passphrase, both as PEM");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_tells_what_was_tried() {
        let (connect, statement) = (Phase::Connect, Phase::Statement);
        let outage = Duration::from_millis(12_400);
        let ms = Duration::from_millis;
        for (error, says) in [
            (
                Error::bare(Kind::Refused, connect).refused(outage),
                "refused during connect, not tried: the database has been down for 12 s; ",
            ),
            (
                Error::bare(Kind::Refused, connect).refused(ms(700)),
                "not tried: the database has been down for 700 ms; ",
            ),
            (
                Error::bare(Kind::ReadOnly, connect).refused(outage),
                "not tried: the database has rejected writes for 12 s; ",
            ),
            (
                Error::bare(Kind::Auth, connect).refused(outage),
                "not tried: connecting to the database has failed for 12 s; ",
            ),
            // The circuit opened after the request's own attempts.
            (
                Error::bare(Kind::Lost, connect).refused(outage).after(2, ms(900)),
                "lost during connect after 2 attempts in 900 ms; ",
            ),
            (
                Error::bare(Kind::Timeout, Phase::Acquire)
                    .trying("all 2 connections")
                    .after(0, ms(8_000)),
                "timeout during acquire (all 2 connections), not tried: none was free for 8000 ms; look for slow",
            ),
            (
                Error::bare(Kind::Timeout, statement).after(1, ms(14_050)),
                "timeout during statement after 1 attempt in 14050 ms; look in pg_locks",
            ),
            (
                Error::bare(Kind::Config, Phase::Config).after(0, ms(0)),
                "config during config, not tried; ",
            ),
        ] {
            let said = error.to_string();
            assert!(said.contains(says), "{said}");
            assert!(!said.contains(" 0 attempts"), "{said}");
        }
    }

    #[test]
    fn missing_object_or_library_names_setting() {
        let said = |phase, code: &str| {
            let error = Error {
                sqlstate: Some(code.to_owned()),
                ..Error::bare(Kind::Query, phase)
            };
            error.to_string()
        };
        for code in ["42P01", "42703", "42704", "42883", "3F000"] {
            let said = said(Phase::Statement, code);
            assert!(said.contains("migrations of this build; if all"), "{said}");
            assert!(said.contains("SET search_path"), "{said}");
        }
        let library = said(Phase::Connect, "58P01");
        assert!(
            library.contains("session_preload_libraries and local_preload_libraries"),
            "{library}"
        );
        for (phase, code) in [
            (Phase::Connect, "42704"),
            (Phase::Statement, "42501"),
            (Phase::Statement, "23505"),
        ] {
            let said = said(phase, code);
            assert!(!said.contains("search_path"), "{said}");
        }
    }

    #[test]
    fn refused_statement_names_its_cause() {
        for (kind, code, says) in [
            (Kind::Query, "42501", "GRANT this role"),
            (Kind::Saturated, "53100", "enlarge the server's disk"),
            (Kind::Saturated, "53200", "out of memory"),
            (Kind::Query, "58030", "the server's disk"),
            (Kind::Query, "XX001", "corrupt"),
            (Kind::Query, "23514", "report it with the constraint"),
            (Kind::Query, "54000", "transaction ids"),
        ] {
            for phase in [Phase::Statement, Phase::Commit] {
                let error = Error {
                    sqlstate: Some(code.to_owned()),
                    ..Error::bare(kind, phase)
                };
                let said = error.to_string();
                assert!(said.contains(says), "{said}");
                assert!(
                    !said.contains("migrations") && !said.contains("CONNECTION LIMIT"),
                    "{said}"
                );
            }
        }
    }
}
