//! Examines the transport: TLS or none, and its problems.
//!
//! Invariants: rejects nothing that `sslmode` accepts; an insecure but accepted transport is a finding.

use std::time::Duration;

use shared::config::DatabaseUrl;
use shared::db::Deadline;
use sqlx::postgres::PgSslMode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::cause::{self, Cause, TargetNames};
use super::report::{Level, Outcome, Report};
use super::startup::Method;
use super::step::StepTimer;
use super::tls::{self, Offer, Tls};

const TLS: Duration = Duration::from_secs(3);

/// A certificate that expires within this many days is a warning.
const RENEW_DAYS: i64 = 21;

/// The properties of the connection.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    /// `None` over a Unix socket, or if the server offers no TLS.
    pub(super) tls: Option<Tls>,
    pub(super) mode: PgSslMode,
    /// The server is this machine, so there is no network in between.
    pub(super) local: bool,
}

/// A byte stream over any transport.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Requests TLS if the URL does, and examines it.
pub(super) async fn secure(
    url: &DatabaseUrl,
    target: &TargetNames,
    mode: PgSslMode,
    mut stream: Box<dyn Stream>,
    deadline: Deadline,
    report: &mut Report,
) -> Result<(Box<dyn Stream>, Option<Tls>), Cause> {
    let timer = StepTimer::start(report);
    let demanded = match mode {
        PgSslMode::Disable | PgSslMode::Allow => {
            timer.end(report, Outcome::Skipped, "not asked for");
            return Ok((stream, None));
        }
        PgSslMode::Prefer => false,
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => true,
    };
    let bound = TLS.min(deadline.left());
    match timeout(bound, tls::ask(&mut stream)).await {
        Err(_) => {
            let cause = cause::silent(target, "answer to the request for TLS", timer.seconds());
            return Err(timer.fail(report, "no answer", cause));
        }
        Ok(Err(error)) => {
            let cause = cause::closed(target, "request for TLS", &error);
            return Err(timer.fail(report, "closed", cause));
        }
        Ok(Ok(Offer::Strange)) => return Err(timer.fail(report, "not PostgreSQL", cause::stranger(target))),
        Ok(Ok(Offer::No)) if demanded => return Err(timer.fail(report, "not offered", cause::no_tls(target))),
        Ok(Ok(Offer::No)) => {
            timer.ok(report, "not offered; sslmode=prefer goes on without");
            return Ok((stream, None));
        }
        Ok(Ok(Offer::Yes)) => {}
    }
    let roots = match url.check_authorities() {
        Ok(roots) => roots,
        Err(problem) => return Err(timer.fail(report, problem.clone(), cause::authorities(&problem))),
    };
    let handshake = timeout(bound, tls::handshake(stream, &target.host, roots)).await;
    let (stream, found) = match handshake {
        Ok(Ok(handshake)) => handshake,
        Ok(Err(problem)) => return Err(timer.fail(report, problem.clone(), cause::tls(target, &problem))),
        Err(_) => {
            let cause = cause::silent(target, "end of the TLS handshake", timer.seconds());
            return Err(timer.fail(report, "no answer", cause));
        }
    };
    let asked = match mode {
        PgSslMode::VerifyFull => found.full.clone(),
        PgSslMode::VerifyCa => found.chain.clone(),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => Ok(()),
    };
    if let Some(problem) = &found.unusable {
        return Err(timer.fail(report, problem.clone(), cause::certificate(target, problem)));
    }
    let detail = format!(
        "{}; verify-full {}; until {} ({} days); issued by {}",
        found.protocol,
        found
            .full
            .clone()
            .err()
            .map_or_else(|| "passes".to_owned(), |problem| format!("fails: {problem}")),
        found.expires,
        found.days_left,
        found.issuer,
    );
    if let Err(problem) = asked {
        return Err(timer.fail(report, detail, cause::tls(target, &problem)));
    }
    timer.ok(report, detail);
    Ok((Box::new(stream), Some(found)))
}

/// Reports the problems of a connection that works.
pub(super) fn judge(url: &DatabaseUrl, wire: &Wire, method: Method, report: &mut Report) {
    if let Some(tls) = &wire.tls
        && tls.days_left < RENEW_DAYS
    {
        let text = if tls.days_left < 0 {
            format!("the server's certificate expired on {}", tls.expires)
        } else {
            format!(
                "the server's certificate expires in {} days, on {}",
                tls.days_left, tls.expires
            )
        };
        report.find(
            Level::Warn,
            "certificate-expiry",
            text,
            "From that day on every client with sslmode=verify-full is locked out.",
            Vec::new(),
        );
    }
    if !wire.local {
        match (&wire.tls, wire.mode) {
            (None, _) => report.find(
                Level::Fail,
                "plaintext",
                "the connection is not encrypted",
                "Every machine on the path can read and change the traffic.",
                vec!["add sslmode=verify-full to the parameters of DATABASE_URL".to_owned()],
            ),
            (Some(_), PgSslMode::VerifyFull) => {}
            (Some(tls), _) => {
                let why = match &tls.full {
                    Ok(()) => "Anyone in between can pose as the server; this server would pass the check.".to_owned(),
                    Err(problem) => format!("Anyone in between can pose as the server. To pass the check: {problem}."),
                };
                report.find(
                    Level::Fail,
                    "unverified",
                    format!("{} does not verify the server", mode_name(wire.mode)),
                    why,
                    vec!["add sslmode=verify-full to the parameters of DATABASE_URL".to_owned()],
                );
            }
        }
    }
    let (id, what) = match method {
        Method::Nothing if !wire.local || !url.is_socket() => {
            ("trust", "the server lets this role in without a password")
        }
        Method::Md5 => ("md5", "this role logs in with md5"),
        Method::ClearText if wire.tls.is_none() && !wire.local => ("clear-text", "the password is sent unencrypted"),
        Method::Nothing | Method::ClearText | Method::Scram | Method::Other | Method::Unasked | Method::Foreign => {
            return;
        }
    };
    let role = cause::quoted(url.user());
    report.find(
        Level::Warn,
        id,
        what,
        "pg_hba.conf says so, or the stored password is an old hash. scram-sha-256 is what to use.",
        vec![format!(
            "\\password {role}   -- in psql, with password_encryption = scram-sha-256; then pg_hba.conf"
        )],
    );
}

/// Returns the mode's name in DATABASE_URL.
pub(super) fn mode_name(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "sslmode=disable",
        PgSslMode::Allow => "sslmode=allow",
        PgSslMode::Prefer => "sslmode=prefer",
        PgSslMode::Require => "sslmode=require",
        PgSslMode::VerifyCa => "sslmode=verify-ca",
        PgSslMode::VerifyFull => "sslmode=verify-full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mode: PgSslMode, tls: Option<Tls>, local: bool) -> Vec<(&'static str, bool)> {
        let url = DatabaseUrl::parse("postgres://u:p@db.example.com/d").unwrap();
        let mut report = Report::default();
        judge(&url, &Wire { tls, mode, local }, Method::Scram, &mut report);
        let failing = |finding: &super::super::report::Finding| (finding.id, finding.level == Level::Fail);
        report.findings.iter().map(failing).collect()
    }

    #[test]
    fn network_without_verification_fails() {
        let tls = Tls {
            protocol: "TLSv1.3".to_owned(),
            issuer: "an authority".to_owned(),
            expires: "2099-01-01".to_owned(),
            days_left: 1_000,
            chain: Ok(()),
            full: Ok(()),
            unusable: None,
        };
        for mode in [PgSslMode::Prefer, PgSslMode::Require, PgSslMode::VerifyCa] {
            assert_eq!(found(mode, Some(tls.clone()), false), [("unverified", true)]);
            assert_eq!(found(mode, Some(tls.clone()), true), []);
        }
        assert_eq!(found(PgSslMode::Disable, None, false), [("plaintext", true)]);
        assert_eq!(found(PgSslMode::Disable, None, true), []);
        assert_eq!(found(PgSslMode::VerifyFull, Some(tls), false), []);
    }
}
