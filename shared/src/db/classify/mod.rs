//! The retry table: the consequence of a failure for the work that it interrupted.
//!
//! A pure function: phase × SQLSTATE × whether the work may run twice → verdict. `docs/reliability/retries.md` prints
//! this table. Invariants: never waits, logs or touches a connection. Codes: PostgreSQL manual, appendix A. Not every
//! code of PostgreSQL is listed; an unlisted code is permanent, because the server answered deliberately.

mod refusal;

use std::io;

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::first_message::{ForeignReply, LONGEST, NO_PROCESS};
use super::kind::{Kind, Phase};
pub(crate) use refusal::{RefusalContext, is_managed, kind_of_connect};

/// The reaction to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not applied, and possibly temporary: retry, on this connection if it is still usable.
    Transient,
    /// Not applied, and this connection is unusable: drop it, then retry.
    Reconnect,
    /// As [`Verdict::Reconnect`], but only once: a second failure means that the connection is not the cause.
    ReconnectOnce,
    /// May or may not have been applied: determine which before anything else.
    Ambiguous,
    /// A retry would fail in the same way.
    Permanent,
}

/// Classifies a failure by the error of the server or the socket.
pub fn kind_of(error: &sqlx::Error) -> Kind {
    // The other variants are incorrect use of the library or the schema: defects of this program, `Kind::Query`.
    if let sqlx::Error::Database(database) = error {
        return kind_of_sqlstate(database.code().as_deref().unwrap_or_default());
    }
    if let sqlx::Error::Io(io) = error {
        return kind_of_io(io);
    }
    if let sqlx::Error::Tls(_) = error {
        return Kind::Tls;
    }
    if let sqlx::Error::Protocol(said) = error {
        return match said.split_once("response from SSLRequest: 0x") {
            // The server ended the connection without a reply, which the driver does not tell from a zero.
            Some((_, byte)) if byte.starts_with("00") => Kind::Lost,
            // An error in this place is that of a server which cannot start a process.
            Some((_, byte)) if byte.starts_with("45") => Kind::Saturated,
            Some(_) => Kind::NotPostgresql,
            None => Kind::Lost,
        };
    }
    Kind::Query
}

/// Classifies a failed log-in by the error of the server or the socket: no message of a log-in is as long as the text of
/// a foreign service claims to be. The socket wrapper notices most of them earlier; a reply can arrive while the driver
/// is already reading, and then only the four letters that it took for a length are known.
pub fn kind_of_log_in(error: &sqlx::Error) -> Kind {
    if let sqlx::Error::Protocol(said) = error
        && said.contains("unknown message type")
    {
        return Kind::NotPostgresql;
    }
    let sqlx::Error::Io(io) = error else {
        return kind_of(error);
    };
    let text = io.to_string();
    let claimed = text
        .strip_prefix("expected to read ")
        .and_then(|rest| rest.split_once(' '));
    let claimed = claimed.and_then(|(bytes, _)| bytes.parse::<u32>().ok());
    match claimed {
        Some(NO_PROCESS) => Kind::Saturated,
        Some(bytes) if bytes > LONGEST => Kind::NotPostgresql,
        Some(_) | None => kind_of(error),
    }
}

/// Classifies a failed statement on an open connection. An error that ends the session does not tell whether the
/// statement was applied, regardless of its code: a pooler that lost its server connection sends XX000 or 58000, and
/// the statement may have been committed.
pub(crate) fn kind_of_statement(error: &sqlx::Error) -> Kind {
    let database = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    let ends_session = database.is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
    if ends_session { Kind::Lost } else { kind_of(error) }
}

fn kind_of_io(error: &io::Error) -> Kind {
    if let Some(foreign) = error.get_ref().and_then(|inner| inner.downcast_ref::<ForeignReply>()) {
        return if foreign.no_process {
            Kind::Saturated
        } else {
            Kind::NotPostgresql
        };
    }
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Kind::Refused;
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return Kind::Timeout;
    }
    // No route, no address of this family here, or a rule of this machine that forbids the packet.
    if matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::EPERM
        )
    ) {
        return Kind::Unreachable;
    }
    // Failures of getaddrinfo have neither an OS error nor an error kind; std uses the same text for all of them.
    if error.raw_os_error().is_none() && error.to_string().starts_with("failed to lookup address") {
        return Kind::Unresolvable;
    }
    // rustls reports a certificate that it rejects as invalid data, inside an I/O error.
    if error.kind() == io::ErrorKind::InvalidData {
        return Kind::Tls;
    }
    Kind::Lost
}

fn kind_of_sqlstate(code: &str) -> Kind {
    match code {
        "28P01" | "28000" => Kind::Auth,
        "3D000" => Kind::NoDatabase,
        // Slots, memory or disk: others may free them.
        "53000" | "53100" | "53200" | "53300" => Kind::Saturated,
        "57P03" => Kind::Starting,
        // A pooler sends 08P01 for everything that it cannot do at the moment; `kind_of_refusal` interprets its
        // messages. 57P04: the database was dropped; if it does not return, the next connect fails with that reason.
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" | "25P04" | "08000" | "08001" | "08003" | "08004" | "08006"
        | "08007" | "08P01" => Kind::Lost,
        "25006" => Kind::ReadOnly,
        "40001" | "40P01" => Kind::Conflict,
        "55P03" => Kind::LockTimeout,
        "57014" => Kind::Timeout,
        // The last one: a session was handed over in a failed transaction. A new connection resolves it, or nothing does.
        "0A000" | "26000" | "42P05" | "25P02" => Kind::StalePlan,
        _ => Kind::Query,
    }
}

/// Returns the verdict. `repeatable`: whether running the work twice has the same effect as running it once, which an
/// explicit transaction guarantees until COMMIT is sent.
pub(crate) fn verdict(phase: Phase, kind: Kind, repeatable: bool) -> Verdict {
    match phase {
        // Nothing was tried, or waiting for a free connection used the whole budget.
        Phase::Config | Phase::Acquire => Verdict::Permanent,
        Phase::Connect => match kind {
            Kind::Refused
            | Kind::Unresolvable
            | Kind::Unreachable
            | Kind::Timeout
            | Kind::Saturated
            | Kind::Starting
            | Kind::Waking
            | Kind::Throttled
            | Kind::ReadOnly
            | Kind::Lost
            | Kind::SecretUnreachable => Verdict::Reconnect,
            // Once, because a rotated password is correct when it is fetched again, and an address that a failover moves
            // may be another service's for a moment.
            Kind::Auth | Kind::NotPostgresql => Verdict::ReconnectOnce,
            Kind::Tls
            | Kind::NoCredential
            | Kind::NoDatabase
            | Kind::Pooler
            | Kind::Config
            | Kind::Conflict
            | Kind::LockTimeout
            | Kind::StalePlan
            | Kind::CommitUnknown
            | Kind::Query => Verdict::Permanent,
        },
        Phase::Statement => match kind {
            Kind::Conflict | Kind::LockTimeout => Verdict::Transient,
            // The server cancelled it, or the client's timeout expired: the statement was not applied, but the
            // connection may be out of sync. In autocommit a late statement may still commit.
            Kind::Timeout
            | Kind::Lost
            | Kind::Pooler
            | Kind::Refused
            | Kind::Unresolvable
            | Kind::Unreachable
            | Kind::NotPostgresql
            | Kind::Tls => {
                if repeatable {
                    Verdict::Reconnect
                } else {
                    Verdict::Ambiguous
                }
            }
            Kind::ReadOnly | Kind::Saturated | Kind::Starting => Verdict::Reconnect,
            Kind::StalePlan => Verdict::ReconnectOnce,
            // The last four occur only while connecting.
            Kind::Auth
            | Kind::NoDatabase
            | Kind::Config
            | Kind::CommitUnknown
            | Kind::Query
            | Kind::Waking
            | Kind::Throttled
            | Kind::SecretUnreachable
            | Kind::NoCredential => Verdict::Permanent,
        },
        Phase::Commit => match kind {
            Kind::Conflict | Kind::LockTimeout => Verdict::Transient,
            Kind::ReadOnly | Kind::Saturated | Kind::Starting => Verdict::Reconnect,
            Kind::Lost
            | Kind::Pooler
            | Kind::Timeout
            | Kind::Refused
            | Kind::Unresolvable
            | Kind::Unreachable
            | Kind::NotPostgresql
            | Kind::Tls => Verdict::Ambiguous,
            Kind::StalePlan
            | Kind::Auth
            | Kind::NoDatabase
            | Kind::Config
            | Kind::CommitUnknown
            | Kind::Query
            | Kind::Waking
            | Kind::Throttled
            | Kind::SecretUnreachable
            | Kind::NoCredential => Verdict::Permanent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_SENT: [(&str, Kind); 5] = [
        ("28P01", Kind::Auth),
        ("53300", Kind::Saturated),
        ("57P03", Kind::Starting),
        ("57P01", Kind::Lost),
        ("08006", Kind::Lost),
    ];

    #[test]
    fn connect_retries_only_transient() {
        for (code, kind) in NEVER_SENT {
            assert_eq!(kind_of_sqlstate(code), kind, "{code}");
            assert_ne!(verdict(Phase::Connect, kind, false), Verdict::Permanent, "{code}");
        }
        for (code, kind) in [
            ("3D000", Kind::NoDatabase),
            ("55P03", Kind::LockTimeout),
            ("57014", Kind::Timeout),
        ] {
            assert_eq!(kind_of_sqlstate(code), kind, "{code}");
        }
        for code in ["3D000", "42501", "42704"] {
            let kind = kind_of_sqlstate(code);
            assert_eq!(verdict(Phase::Connect, kind, true), Verdict::Permanent, "{code}");
        }
    }

    /// Before COMMIT the transaction is retried; at COMMIT the outcome is ambiguous.
    #[test]
    fn lost_connection_depends_on_phase() {
        for code in ["57P01", "57P02", "08006"] {
            let kind = kind_of_sqlstate(code);
            assert_eq!(verdict(Phase::Statement, kind, true), Verdict::Reconnect, "{code}");
            assert_eq!(verdict(Phase::Statement, kind, false), Verdict::Ambiguous, "{code}");
            assert_eq!(verdict(Phase::Commit, kind, true), Verdict::Ambiguous, "{code}");
        }
    }

    #[test]
    fn serialization_failure_is_transient() {
        for phase in [Phase::Statement, Phase::Commit] {
            assert_eq!(verdict(phase, kind_of_sqlstate("40001"), true), Verdict::Transient);
            assert_eq!(verdict(phase, kind_of_sqlstate("40P01"), true), Verdict::Transient);
        }
    }

    #[test]
    fn server_refusal_is_permanent() {
        for code in [
            "23505", "23503", "23514", "22P02", "42601", "42P01", "22001", "XX000", "",
        ] {
            let kind = kind_of_sqlstate(code);
            for phase in [Phase::Statement, Phase::Commit] {
                assert_eq!(verdict(phase, kind, true), Verdict::Permanent, "{code}");
            }
        }
    }

    /// A stale plan reconnects once only.
    #[test]
    fn stale_plan_or_read_only_reconnects() {
        for code in ["0A000", "26000", "25P02"] {
            assert_eq!(
                verdict(Phase::Statement, kind_of_sqlstate(code), true),
                Verdict::ReconnectOnce
            );
        }
        assert_eq!(
            verdict(Phase::Statement, kind_of_sqlstate("25006"), true),
            Verdict::Reconnect
        );
    }

    #[test]
    fn socket_errors_are_classified() {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        let kind = |kind: io::ErrorKind| kind_of(&sqlx::Error::Io(io::Error::from(kind)));
        assert_eq!(kind(ConnectionRefused), Kind::Refused);
        assert_eq!(kind(TimedOut), Kind::Timeout);
        assert_eq!(kind(ConnectionReset), Kind::Lost);
        assert_eq!(kind(UnexpectedEof), Kind::Lost);
    }

    #[test]
    fn missing_route_is_unreachable() {
        for errno in [
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::EADDRNOTAVAIL,
            libc::EAFNOSUPPORT,
            libc::EPERM,
        ] {
            let error = sqlx::Error::Io(io::Error::from_raw_os_error(errno));
            assert_eq!(kind_of(&error), Kind::Unreachable, "{error}");
            assert_eq!(verdict(Phase::Connect, kind_of(&error), true), Verdict::Reconnect);
        }
    }

    #[test]
    fn foreign_reply_is_named() {
        use crate::db::first_message::{FirstBytes, judge};
        for (bytes, kind) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Kind::NotPostgresql),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Kind::NotPostgresql),
            (b"Ecould not fork new process for connection: x\n\0", Kind::Saturated),
        ] {
            let FirstBytes::Foreign(reply) = judge(bytes, false) else {
                panic!("{bytes:?}");
            };
            assert_eq!(kind_of(&sqlx::Error::Io(io::Error::other(reply))), kind);
        }
        let cut = |text: &str| {
            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, text);
            kind_of_log_in(&sqlx::Error::Io(cut))
        };
        assert_eq!(
            cut("expected to read 842014830 bytes, got 28 bytes at EOF"),
            Kind::NotPostgresql
        );
        assert_eq!(
            cut("expected to read 1668248941 bytes, got 65 bytes at EOF"),
            Kind::Saturated
        );
        assert_eq!(cut("expected to read 5 bytes, got 0 bytes at EOF"), Kind::Lost);
        assert_eq!(cut("expected to read 200 bytes, got 28 bytes at EOF"), Kind::Lost);
        let answer = |text: &str| {
            kind_of(&sqlx::Error::Protocol(format!(
                "{text} (sqlx_postgres::connection::tls:95)"
            )))
        };
        assert_eq!(answer("unexpected response from SSLRequest: 0x48"), Kind::NotPostgresql);
        assert_eq!(answer("unexpected response from SSLRequest: 0x45"), Kind::Saturated);
        assert_eq!(answer("unexpected response from SSLRequest: 0x00"), Kind::Lost);
        assert_eq!(answer("unexpected message"), Kind::Lost);
        let unknown = sqlx::Error::Protocol("unknown message type: 'J'".to_owned());
        assert_eq!(kind_of_log_in(&unknown), Kind::NotPostgresql);
    }

    #[test]
    fn unknown_host_is_unresolvable() {
        let error = std::net::ToSocketAddrs::to_socket_addrs(&("no-such-host.invalid", 5432)).unwrap_err();
        assert_eq!(kind_of(&sqlx::Error::Io(error)), Kind::Unresolvable);
    }
}
