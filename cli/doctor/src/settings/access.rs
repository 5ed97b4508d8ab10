//! Examines who can connect and how they authenticate: pg_hba.conf and the stored passwords. Requires a superuser.

use serde::Deserialize;

use crate::cause::quoted;
use crate::report::{Level, Report};
use crate::session::Session;

pub(super) async fn examine(session: &mut Session, report: &mut Report) {
    hba_rules(session, report).await;
    password_hashes(session, report).await;
}

#[derive(Deserialize)]
struct HbaRule {
    line: i64,
    how: String,
}

/// Reports pg_hba.conf lines that admit remote clients without authentication, or over an unencrypted connection.
async fn hba_rules(session: &mut Session, report: &mut Report) {
    let found = session
        .rows::<HbaRule>(
            "SELECT line_number AS line, CASE WHEN error IS NOT NULL THEN 'error' \
             WHEN auth_method IN ('trust', 'password') THEN auth_method ELSE 'plaintext' END AS how \
             FROM pg_hba_file_rules WHERE error IS NOT NULL OR (type LIKE 'host%' AND auth_method <> 'reject' \
             AND coalesce(address, '') NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost') \
             AND (auth_method IN ('trust', 'password') OR type IN ('host', 'hostnossl'))) ORDER BY 1",
        )
        .await;
    // A role that cannot see the file gets the reason from the check of password hashes.
    let Ok(rules) = found else { return };
    for (how, level, what, why) in [
        (
            "error",
            Level::Warn,
            "are not understood",
            "The server keeps the last version it understood, and does not start with this one.",
        ),
        (
            "trust",
            Level::Warn,
            "let others in without a password",
            "Every client that reaches the port can log in as any role.",
        ),
        (
            "password",
            Level::Warn,
            "ask for the password itself",
            "It crosses the network, and the server sees it. scram-sha-256 does without.",
        ),
        (
            "plaintext",
            Level::Advice,
            "let others in without TLS",
            "hostssl instead of host prevents it.",
        ),
    ] {
        let lines: Vec<String> = rules
            .iter()
            .filter(|rule| rule.how == how)
            .map(|rule| rule.line.to_string())
            .collect();
        if !lines.is_empty() {
            report.find(
                level,
                "pg-hba",
                format!("lines of pg_hba.conf that {what}: {}", lines.join(", ")),
                why,
                vec!["SHOW hba_file;   -- make it hostssl … scram-sha-256, then: SELECT pg_reload_conf();".to_owned()],
            );
        }
    }
}

#[derive(Deserialize)]
struct Hashed {
    role: String,
}

/// Reports roles with an md5 password hash; `password_encryption` applies only to passwords set afterwards.
async fn password_hashes(session: &mut Session, report: &mut Report) {
    let found = session
        .rows::<Hashed>("SELECT rolname AS role FROM pg_authid WHERE rolpassword LIKE 'md5%' ORDER BY 1")
        .await;
    match found {
        Ok(roles) if roles.is_empty() => {}
        Ok(roles) => {
            let names: Vec<&str> = roles.iter().map(|hashed| hashed.role.as_str()).collect();
            report.find(
                Level::Warn,
                "md5-passwords",
                format!("passwords kept as md5 hashes: {}", names.join(", ")),
                "They can be guessed, and the hash alone is enough to log in. Set each again, with password_encryption = scram-sha-256.",
                names.iter().map(|name| format!("\\password {}   -- in psql", quoted(name))).collect(),
            );
        }
        Err(unavailable) => report.unavailable("passwordHashes", &unavailable, "they and pg_hba.conf take a superuser"),
    }
}
