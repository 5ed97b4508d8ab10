//! Builds the connection string for this database and this fleet from the findings.
//!
//! Invariants: never shows the password or a value of the given URL's parameters; a placeholder in capitals replaces
//! each value that should be kept.

use shared::config::DatabaseUrl;

use super::report::{Level, Report};
use super::server::Server;
use super::wire::Wire;

/// Writes the recommended URL, with the servers of `endpoint`, and the given URL's problems into the report.
pub(super) fn recommend(url: &DatabaseUrl, endpoint: String, wire: &Wire, server: &Server, report: &mut Report) {
    let mut parameters: Vec<String> = Vec::new();
    let mut notes: Vec<String> = Vec::new();
    if url.is_socket() {
        notes.push("a Unix socket is this machine's: functions need a host".to_owned());
    }
    match &wire.tls {
        Some(tls) if tls.full.is_ok() => {
            parameters.push("sslmode=verify-full".to_owned());
            notes.push("verify-full: the server proves its identity; the check passes".to_owned());
        }
        Some(tls) => {
            parameters.push("sslmode=verify-full".to_owned());
            let problem = tls.full.clone().err().unwrap_or_default();
            notes.push(format!(
                "verify-full: the server proves its identity; the check does not pass yet, {problem}"
            ));
        }
        None if url.is_socket() => {}
        None => {
            parameters.push("sslmode=verify-full".to_owned());
            notes.push("verify-full: the server proves its identity; it needs ssl = on there first".to_owned());
        }
    }
    let authority = wire.tls.as_ref().is_some_and(|tls| tls.full.is_err());
    if url.ssl_root_cert().is_some() || authority {
        parameters.push("sslrootcert=SSLROOTCERT".to_owned());
        notes.push("SSLROOTCERT: the PEM file of the authority that signs the server's certificate".to_owned());
    }
    let limit = i64::try_from(url.connection_limit().unwrap_or(1)).unwrap_or(i64::MAX);
    if url.is_pooled() {
        parameters.push("pgbouncer=true".to_owned());
        notes.push("pgbouncer=true: the server is behind a pooler, as now".to_owned());
    } else {
        let environments = server.usable() / limit.max(1);
        notes.push(format!(
            "connection_limit: leave it out; one connection an environment makes {} slots as many environments",
            server.usable()
        ));
        if limit > 1 {
            report.find(
                Level::Warn,
                "connection-limit",
                format!("connection_limit is above 1: {environments} environments use up every slot"),
                "An environment serves one request at a time (more only under AWS_LAMBDA_MAX_CONCURRENCY).",
                vec!["leave connection_limit out of DATABASE_URL".to_owned()],
            );
        }
    }
    if url.search_path().is_some() {
        parameters.push("schema=SCHEMA".to_owned());
        notes.push("SCHEMA: as it is now".to_owned());
    }
    notes.push("timeouts: the defaults are made for functions; leave them out".to_owned());
    let user = if server.is_application() {
        encoded(url.user())
    } else {
        notes.insert(0, format!("ROLE: one of the functions' own, not {}", url.user()));
        "ROLE".to_owned()
    };
    let host = if url.is_socket() {
        "HOST:5432".to_owned()
    } else {
        endpoint
    };
    report.url = Some(format!(
        "postgres://{user}:PASSWORD@{host}/{}{}{}",
        encoded(url.database()),
        if parameters.is_empty() { "" } else { "?" },
        parameters.join("&")
    ));
    report.url_notes = notes;
    if server.superuser {
        report.find(
            Level::Advice,
            "superuser",
            format!("{} is a superuser", server.role),
            "Functions need far fewer privileges, and a role with all of them can lose everything: docs/postgres/roles.md.",
            Vec::new(),
        );
    }
}

/// Percent-encodes the text for a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
