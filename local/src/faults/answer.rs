//! Reads what a function answered, and says whether the contract allows it.
//!
//! The contract for failures: an HTTP answer always, a problem document with a type of ours, `Retry-After` with 503, and
//! nothing of the database's own words.

use serde_json::Value;

use super::history::Seen;
use crate::lambda::Outcome;

/// What a client may never read, in lower case: words of PostgreSQL, of the driver, of SQL, and addresses.
const NOT_FOR_CLIENTS: [&str; 14] = [
    "postgres",
    "sqlstate",
    "sqlx",
    "select ",
    "insert ",
    "update ",
    "relation ",
    "constraint",
    "duplicate key",
    "fatal",
    "connection refused",
    "connection reset",
    "127.0.0.1",
    "panicked",
];

/// An answer that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Value,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }

    pub(super) fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// A member of the body as text; empty when there is none.
    pub(super) fn text(&self, member: &str) -> &str {
        self.body.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// The body's `items`.
    pub(super) fn items(&self) -> &[Value] {
        self.body
            .get("items")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }
}

/// Sorts an outcome; `good` are the statuses that were asked for.
pub(super) fn judge(outcome: &Outcome, good: &[u16]) -> (Seen, Option<Answer>) {
    let payload = match outcome {
        Outcome::Success(payload) => payload,
        Outcome::FunctionError(report) | Outcome::InitFailed(report) => {
            return broken(format!("502: {}", String::from_utf8_lossy(report)));
        }
        Outcome::TimedOut => return broken("504: killed at the function's timeout".to_owned()),
        Outcome::Crashed(status) => return broken(format!("502: the process ended: {status}")),
        Outcome::Throttled => return broken("503 of the service: throttled".to_owned()),
        Outcome::TooLarge => return broken("413 of the service".to_owned()),
    };
    let event: Value = serde_json::from_slice(payload).unwrap_or_default();
    let Some(status) = event
        .get("statusCode")
        .and_then(Value::as_u64)
        .and_then(|status| status.try_into().ok())
    else {
        return broken(format!("502: no HTTP answer: {}", String::from_utf8_lossy(payload)));
    };
    let text = event.get("body").and_then(Value::as_str).unwrap_or_default();
    let body = serde_json::from_str(text).unwrap_or_default();
    let headers = event.get("headers").cloned().unwrap_or_default();
    let answer = Answer { status, headers, body };
    if good.contains(&status) {
        return if text.is_empty() == (status == 204) {
            (Seen::Served(status), Some(answer))
        } else {
            broken(format!("{status} with the wrong body: {text:?}"))
        };
    }
    match refusal(&answer, text) {
        Ok(seen) => (seen, None),
        Err(why) => broken(format!("{why}: {status} {text}")),
    }
}

/// What kind of failure this is, if it is one that the contract knows.
fn refusal(answer: &Answer, text: &str) -> Result<Seen, &'static str> {
    let lower = text.to_lowercase();
    if NOT_FOR_CLIENTS.iter().any(|word| lower.contains(word)) {
        return Err("the database's own words");
    }
    if answer.header("content-type") != Some("application/problem+json") {
        return Err("no problem document");
    }
    let members = answer.body.get("status").and_then(Value::as_u64) == Some(answer.status.into())
        && !answer.text("detail").is_empty()
        && !answer.text("requestId").is_empty();
    let Some(kind) = answer
        .text("type")
        .strip_prefix("urn:seer:problem:")
        .filter(|_| members)
    else {
        return Err("a problem document without its members");
    };
    let waits = answer
        .header("retry-after")
        .is_some_and(|seconds| seconds.parse::<u32>().is_ok());
    match (answer.status, kind) {
        (503, _) if !waits => Err("503 without Retry-After"),
        (503, "commit-unknown") => Ok(Seen::Unknown),
        (503, "database-unavailable") => Ok(Seen::Refused),
        (409, "idempotency-key-in-use") if waits => Ok(Seen::Running),
        _ => Err("not an answer to this request"),
    }
}

fn broken(what: String) -> (Seen, Option<Answer>) {
    (Seen::Broken(what), None)
}
