//! The log line of an invocation: one, with everything that is known about it.
//!
//! Invariants: shows no subject, address, path parameter or content; the names are stable, and those of
//! `docs/LOGS.md`.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use sha2::{Digest as _, Sha256};
use tracing::Level;

use super::problem::Failure;
use super::response::Response;
use crate::telemetry::{Counts, counts};

/// Bytes of a caller's digest.
const DIGEST: usize = 8;

/// Who sent a request, as far as a log line may show it.
#[derive(Debug, Default)]
pub(super) struct Sender {
    caller: Option<[u8; DIGEST]>,
    trace: Option<u128>,
}

impl Sender {
    /// Reads the caller's subject and the client's `traceparent`.
    pub(super) fn of(event: &ApiGatewayV2httpRequest) -> Self {
        let authorizer = event.request_context.authorizer.as_ref();
        let claims = authorizer
            .and_then(|authorizer| authorizer.jwt.as_ref())
            .map(|jwt| &jwt.claims);
        let subject = claims.and_then(|claims| claims.get("sub"));
        let digest = |subject: &String| {
            let digest = Sha256::digest(subject.as_bytes());
            let mut short = [0; DIGEST];
            short.copy_from_slice(&digest[..DIGEST]);
            short
        };
        let parent = event.headers.get("traceparent").and_then(|value| value.to_str().ok());
        Self {
            caller: subject.map(digest),
            trace: parent.and_then(trace_of),
        }
    }

    fn caller(&self) -> Option<String> {
        self.caller.map(|digest| {
            digest.iter().fold(String::with_capacity(2 * DIGEST), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        })
    }
}

/// Returns the trace id of a `traceparent` (W3C Trace Context): `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
fn trace_of(parent: &str) -> Option<u128> {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
    // A later version may add parts.
    let ends = version != "00" || parts.next().is_none();
    let sound = lengths && ends && version != "ff" && [version, trace, span, flags].into_iter().all(hex);
    let trace = sound.then(|| u128::from_str_radix(trace, 16).ok()).flatten();
    trace.filter(|trace| *trace != 0)
}

/// Writes the line at one of three levels, whose calls differ in nothing else.
macro_rules! wide {
    ($level:ident, $message:literal, $fields:expr) => {{
        let Fields {
            route,
            status,
            problem,
            report,
            state,
            caller,
            trace,
            duration_ms,
            counts,
            failure,
        } = $fields;
        tracing::$level!(
            route,
            status,
            problem,
            report,
            state,
            duration_ms,
            database_ms = milliseconds(counts.database),
            connects = counts.connects,
            connect_ms = milliseconds(counts.connecting),
            attempts = counts.attempts,
            round_trips = counts.round_trips,
            rows = counts.rows,
            witnesses = counts.witnesses,
            caller,
            client_trace_id = trace,
            kind = failure.and_then(|failure| failure.kind),
            phase = failure.and_then(|failure| failure.phase),
            sqlstate = failure.and_then(|failure| failure.sqlstate.as_deref()),
            constraint = failure.and_then(|failure| failure.constraint.as_deref()),
            error = failure.map(|failure| failure.error.as_str()),
            $message
        )
    }};
}

/// The fields of a line; those that do not apply are left out.
struct Fields<'a> {
    route: Option<&'static str>,
    status: Option<u16>,
    problem: Option<&'static str>,
    report: Option<&'a str>,
    state: Option<&'a str>,
    caller: Option<&'a str>,
    trace: Option<&'a str>,
    duration_ms: f64,
    counts: Counts,
    failure: Option<&'a Failure>,
}

/// Writes the line of a request, as an error if the service failed.
pub(super) fn answered(route: &'static str, since: Instant, sender: &Sender, response: &Response) {
    // Nothing is formatted for a line that is not written.
    if !tracing::enabled!(Level::ERROR) || response.failure.is_none() && !tracing::enabled!(Level::INFO) {
        return;
    }
    let caller = sender.caller();
    let trace = sender.trace.map(|trace| format!("{trace:032x}"));
    let fields = Fields {
        route: Some(route),
        status: Some(response.status()),
        problem: response.problem,
        report: None,
        state: None,
        caller: caller.as_deref(),
        trace: trace.as_deref(),
        duration_ms: milliseconds(since.elapsed()),
        counts: counts(),
        failure: response.failure.as_deref(),
    };
    match fields.failure {
        Some(_) => wide!(error, "answered", fields),
        None => wide!(info, "answered", fields),
    }
}

/// The outcome of a scheduled invocation, for its line.
#[derive(Debug)]
pub(crate) struct Scheduled {
    /// The invocation's result.
    pub(crate) report: serde_json::Value,
    /// How bad it is.
    pub(crate) level: Level,
    /// Why the database is not usable.
    pub(crate) failure: Option<Box<Failure>>,
}

impl Scheduled {
    /// Returns the outcome of an invocation that made no report.
    pub(super) fn failed(failure: Option<Box<Failure>>) -> Self {
        Self {
            report: serde_json::Value::Null,
            level: if failure.is_some() { Level::ERROR } else { Level::WARN },
            failure,
        }
    }
}

/// Writes the line of a scheduled invocation.
pub(super) fn scheduled(since: Instant, outcome: &Scheduled) {
    let report = outcome.report.to_string();
    let fields = Fields {
        route: None,
        status: None,
        problem: None,
        report: Some(&report),
        state: outcome.report.get("state").and_then(serde_json::Value::as_str),
        caller: None,
        trace: None,
        duration_ms: milliseconds(since.elapsed()),
        counts: counts(),
        failure: outcome.failure.as_deref(),
    };
    if outcome.level == Level::ERROR {
        wide!(error, "scheduled", fields);
    } else if outcome.level == Level::WARN {
        wide!(warn, "scheduled", fields);
    } else {
        wide!(info, "scheduled", fields);
    }
}

/// Returns milliseconds with three decimals.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_gives_its_trace_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let known = u128::from_str_radix(id, 16).ok();
        assert_eq!(trace_of(&format!("00-{id}-00f067aa0ba902b7-01")), known);
        assert_eq!(trace_of(&format!("01-{id}-00f067aa0ba902b7-01-more")), known);
        for wrong in [
            "".to_owned(),
            format!("00-{id}-00f067aa0ba902b7"),
            format!("00-{id}-00f067aa0ba902b7-01-more"),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", "+".repeat(32)),
            format!("00-{id}0-00f067aa0ba902b-01"),
        ] {
            assert_eq!(trace_of(&wrong), None, "{wrong}");
        }
    }
}
