//! Classifies why a server, a pooler or a provider's proxy rejects a connection.
//!
//! A pure function, like the whole retry table: SQLSTATE × message × facts about the server → [`Kind`]. The messages
//! are those of servers with English `lc_messages`; proxies only have English ones.

use super::{kind_of_log_in, kind_of_sqlstate};
use crate::db::kind::Kind;

/// The facts about a server that decide what its rejection of a connection means.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RefusalContext {
    /// Whether a provider that pauses idle databases runs it: see [`is_managed`].
    pub managed: bool,
    /// Connections log in with an RDS IAM token.
    pub iam: bool,
}

/// Domains of the providers whose databases pause and resume: a server there may accept a role that it rejected a
/// moment ago.
const MANAGED_DOMAINS: [&str; 3] = [".rds.amazonaws.com", ".rds.amazonaws.com.cn", ".neon.tech"];

/// Returns whether a provider in [`MANAGED_DOMAINS`] runs the server, by its host name. An alias of such a name is not
/// recognised: its refusals are final, as for any other server.
pub(crate) fn is_managed(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    MANAGED_DOMAINS.iter().any(|domain| host.ends_with(domain))
}

/// Classifies a connect error. Nothing was applied, so more of these are temporary than in [`super::kind_of`].
pub(crate) fn kind_of_connect(error: &sqlx::Error, server: RefusalContext) -> Kind {
    match error.as_database_error() {
        Some(refusal) => kind_of_refusal(refusal.code().as_deref().unwrap_or_default(), refusal.message(), server),
        None => kind_of_log_in(error),
    }
}

fn kind_of_refusal(code: &str, message: &str, server: RefusalContext) -> Kind {
    let message = message.to_ascii_lowercase();
    match code {
        // A resuming Aurora has not loaded its rules yet. A connection that is rejected for lacking TLS stays rejected.
        "28000"
            if server.managed
                && message.contains("no pg_hba.conf entry")
                && !message.contains("no encryption")
                && !message.contains("ssl off") =>
        {
            Kind::Waking
        }
        // RDS checks 200 tokens per second and rejects the rest with this message, like an invalid token. A role
        // without rds_iam is rejected with a wrong password, which is permanent.
        "28000" | "28P01" if server.iam && message.contains("am authentication failed") => Kind::Throttled,
        // Aurora DSQL: more than 100 connects per second.
        "53400" => Kind::Throttled,
        // A DROP DATABASE was interrupted (PostgreSQL 17 and the minor versions of 2023).
        "55000" if message.contains("invalid database") => Kind::NoDatabase,
        // ALLOW_CONNECTIONS is off during a restore, an upgrade or a rename.
        "55000" => Kind::Starting,
        // The server cannot read or write its files: storage that is attached late, full, or failing. A library that a
        // setting names and that is missing (could not access) stays missing.
        "53100" | "58000" | "58030" => Kind::Lost,
        "58P01" if message.contains("could not open file") => Kind::Lost,
        "08P01" | "XX000" => {
            let mut words = REFUSALS.iter();
            let known = words.find(|(words, _)| message.contains(words));
            known.map_or_else(|| kind_of_sqlstate(code), |(_, kind)| *kind)
        }
        _ => kind_of_sqlstate(code),
    }
}

/// The messages with which PgBouncer (08P01, the same in 1.18 to 1.24), Supavisor and Neon's proxy (XX000) reject a
/// connection, because their codes do not identify the cause. In lower case; the first match decides.
const REFUSALS: [(&str, Kind); 28] = [
    // PgBouncer's own log-in to the server, which it repeats. It can quote the server's "authentication failed".
    ("server login has been failing", Kind::Lost),
    // After "password", "SASL", "PAM", "LDAP", "certificate". Many of them close a provider's proxy for a while.
    ("too many authentication", Kind::Throttled),
    ("authentication failed", Kind::Auth),
    ("wrong password", Kind::Auth),
    ("no such user", Kind::Auth),
    ("login rejected", Kind::Auth),
    ("user not found", Kind::Auth),
    ("(enotfound)", Kind::Auth),
    ("no such database", Kind::NoDatabase),
    // The server's own words, passed on.
    ("role \"", Kind::Auth),
    ("does not exist", Kind::NoDatabase),
    ("no more connections allowed", Kind::Saturated),
    ("client connections exceeded", Kind::Saturated),
    ("emaxconn", Kind::Saturated),
    ("max client", Kind::Saturated),
    ("checkout timeout", Kind::Saturated),
    ("unable to check out", Kind::Saturated),
    ("too many", Kind::Saturated),
    ("endpoint is disabled", Kind::Query),
    ("cannot be found", Kind::Query),
    ("endpoint is idle", Kind::Waking),
    ("dbhandler exited", Kind::Waking),
    ("connection to database not available", Kind::Waking),
    ("retry", Kind::Waking),
    ("try again", Kind::Waking),
    ("temporarily unavailable", Kind::Waking),
    ("connect to compute node", Kind::Waking),
    ("control plane request failed", Kind::Waking),
];

#[cfg(test)]
mod tests {
    use super::super::{Verdict, verdict};
    use super::*;
    use crate::db::kind::Phase;

    const OTHER: RefusalContext = RefusalContext {
        managed: false,
        iam: false,
    };
    const MANAGED: RefusalContext = RefusalContext {
        managed: true,
        iam: false,
    };
    const IAM: RefusalContext = RefusalContext {
        managed: true,
        iam: true,
    };

    #[test]
    fn waking_or_full_provider_waits() {
        for (code, message, server, kind) in [
            (
                "28000",
                "no pg_hba.conf entry for host \"10.0.0.1\", user \"u\", SSL encryption",
                MANAGED,
                Kind::Waking,
            ),
            (
                "28000",
                "PAM authentication failed for user \"u\"",
                IAM,
                Kind::Throttled,
            ),
            (
                "28000",
                "The IAM authentication failed for the role u.",
                IAM,
                Kind::Throttled,
            ),
            (
                "53400",
                "Unable to accept connection, rate exceeded.",
                OTHER,
                Kind::Throttled,
            ),
            ("53200", "out of memory", OTHER, Kind::Saturated),
            (
                "55000",
                "database \"d\" is not currently accepting connections",
                OTHER,
                Kind::Starting,
            ),
            ("57P04", "terminating connection", OTHER, Kind::Lost),
            ("58000", "could not load library", OTHER, Kind::Lost),
            ("XX000", "endpoint is idle, retry", MANAGED, Kind::Waking),
            ("XX000", "Couldn't connect to compute node", MANAGED, Kind::Waking),
            ("XX000", "Control plane request failed", MANAGED, Kind::Waking),
            (
                "XX000",
                "Control plane request failed: endpoint is temporarily unavailable.",
                MANAGED,
                Kind::Waking,
            ),
            (
                "XX000",
                "Too many connections to this endpoint. Please try again later.",
                MANAGED,
                Kind::Saturated,
            ),
            (
                "XX000",
                "(EMAXCONN) max client connections reached, limit: 200",
                MANAGED,
                Kind::Saturated,
            ),
            (
                "XX000",
                "(EMAXCONNSESSION) max clients reached in session mode",
                MANAGED,
                Kind::Saturated,
            ),
            (
                "08P01",
                "no more connections allowed (max_client_conn)",
                OTHER,
                Kind::Saturated,
            ),
            (
                "08P01",
                "server login has been failing, try again later (server_login_retry)",
                OTHER,
                Kind::Lost,
            ),
            ("08P01", "query_wait_timeout", OTHER, Kind::Lost),
            (
                "XX000",
                "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms",
                OTHER,
                Kind::Saturated,
            ),
            (
                "XX000",
                "MaxClientsInSessionMode: max clients reached",
                OTHER,
                Kind::Saturated,
            ),
            ("XX000", "(EDBHANDLEREXITED) DbHandler exited", OTHER, Kind::Waking),
            (
                "XX000",
                "Too many authentication failures: circuit breaker open",
                OTHER,
                Kind::Throttled,
            ),
            ("53100", "could not write to file", OTHER, Kind::Lost),
            ("53000", "insufficient resources", OTHER, Kind::Saturated),
            (
                "58P01",
                "could not open file \"global/pg_filenode.map\": No such file or directory",
                OTHER,
                Kind::Lost,
            ),
            ("58030", "could not read block 0", OTHER, Kind::Lost),
        ] {
            assert_eq!(kind_of_refusal(code, message, server), kind, "{code} {message}");
            assert_eq!(
                verdict(Phase::Connect, kind, true),
                Verdict::Reconnect,
                "{code} {message}"
            );
        }
    }

    #[test]
    fn final_refusal_is_named_at_once() {
        let plaintext = "no pg_hba.conf entry for host \"10.0.0.1\", user \"u\", database \"d\", no encryption";
        for (code, message, server, kind) in [
            ("28000", "no pg_hba.conf entry for host \"10.0.0.1\"", OTHER, Kind::Auth),
            ("28000", plaintext, MANAGED, Kind::Auth),
            ("28000", "PAM authentication failed for user \"u\"", OTHER, Kind::Auth),
            (
                "28P01",
                "password authentication failed for user \"u\"",
                IAM,
                Kind::Auth,
            ),
            ("28000", "role \"u\" is not permitted to log in", IAM, Kind::Auth),
            (
                "55000",
                "cannot connect to invalid database \"d\"",
                OTHER,
                Kind::NoDatabase,
            ),
            (
                "XX000",
                "password authentication failed for user 'u'",
                MANAGED,
                Kind::Auth,
            ),
            ("XX000", "Tenant or user not found", MANAGED, Kind::Auth),
            (
                "XX000",
                "Control plane request failed: endpoint is disabled",
                MANAGED,
                Kind::Query,
            ),
            ("XX000", "cache lookup failed for relation 1", MANAGED, Kind::Query),
            ("08P01", "password authentication failed", OTHER, Kind::Auth),
            ("08P01", "SASL authentication failed", OTHER, Kind::Auth),
            ("08P01", "no such user", OTHER, Kind::Auth),
            ("08P01", "no such database: d", OTHER, Kind::NoDatabase),
            ("08P01", "FATAL: database \"d\" does not exist", OTHER, Kind::NoDatabase),
            ("08P01", "FATAL: role \"u\" does not exist", OTHER, Kind::Auth),
            ("08P01", "wrong password type", OTHER, Kind::Auth),
            (
                "58P01",
                "could not access file \"absent\": No such file or directory",
                OTHER,
                Kind::Query,
            ),
            ("XX001", "invalid page in block 0", OTHER, Kind::Query),
        ] {
            assert_eq!(kind_of_refusal(code, message, server), kind, "{code} {message}");
            assert_ne!(
                verdict(Phase::Connect, kind, true),
                Verdict::Reconnect,
                "{code} {message}"
            );
        }
    }

    #[test]
    fn managed_host_matches_by_domain() {
        for host in ["db.abc.eu-west-1.rds.amazonaws.com", "EP-1.eu-central-1.aws.NEON.tech."] {
            assert!(is_managed(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "db.example.com",
            "rds.amazonaws.com.example.com",
            "/run/db.neon.tech/x",
        ] {
            assert!(!is_managed(host), "{host}");
        }
    }
}
