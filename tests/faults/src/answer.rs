//! Reads a function's answer, and decides whether the contract allows it.
//!
//! The contract for failures: always an HTTP answer, a problem document with a known type, `Retry-After` with 503, and
//! no database text.

use serde_json::Value;

use super::history::Seen;
use local::lambda::Outcome;

/// Text that a client must never receive, in lower case: words of PostgreSQL, of the driver, of SQL, and addresses.
const NOT_FOR_CLIENTS: [&str; 36] = [
    "postgres",
    "sqlstate",
    "sqlx",
    "pg_",
    "select ",
    "insert ",
    "update ",
    "delete from",
    "relation ",
    "constraint",
    "duplicate key",
    "idempotency_keys",
    "receipts",
    "deadlock",
    "fatal",
    "terminating",
    "connection refused",
    "connection reset",
    "broken pipe",
    "os error",
    "localhost",
    "127.0.0.1",
    "seer.test",
    "amazonaws.com",
    "neon.tech",
    "on.aws",
    "thread '",
    "panicked",
    "returned from database",
    "too many clients",
    "connection slots",
    "the database system",
    "canceling",
    "password authentication",
    "unexpected end",
    "at eof",
];

/// An expected answer.
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

    /// Returns a member of the body as text; empty if there is none.
    pub(super) fn text(&self, member: &str) -> &str {
        self.body.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the items of a list.
    pub(super) fn items(&self) -> &[Value] {
        self.body.as_array().map_or(&[], Vec::as_slice)
    }
}

/// Returns what the function answered, or what the service answers in its place.
pub(super) fn payload(outcome: &Outcome) -> Result<&[u8], String> {
    match outcome {
        Outcome::Success(payload) => Ok(payload),
        Outcome::FunctionError(report) | Outcome::InitFailed(report) => {
            Err(format!("502: {}", String::from_utf8_lossy(report)))
        }
        Outcome::TimedOut => Err("504: killed at the function's timeout".to_owned()),
        Outcome::Crashed(status) => Err(format!("502: the process ended: {status}")),
        Outcome::Throttled => Err("503 of the service: throttled".to_owned()),
        Outcome::TooLarge => Err("413 of the service".to_owned()),
    }
}

/// Sorts an outcome; `good` are the statuses that were asked for.
pub(super) fn judge(outcome: &Outcome, good: &[u16]) -> (Seen, Option<Answer>) {
    let payload = match payload(outcome) {
        Ok(payload) => payload,
        Err(what) => return broken(what),
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
    let seen = if let Some(word) = not_for_clients(&answer, text) {
        Err(format!("database text, {word:?}"))
    } else if good.contains(&status) {
        served(&answer, text).map_err(str::to_owned)
    } else {
        refusal(&answer).map_err(str::to_owned)
    };
    match seen {
        Ok(seen @ Seen::Served(_)) => (seen, Some(answer)),
        Ok(seen) => (seen, None),
        Err(why) => broken(format!("{why}: {status} {text}")),
    }
}

/// Returns text in an answer, with any status, that a client must never receive. An invitation's token and a cursor are
/// random letters, which can be any text.
fn not_for_clients(answer: &Answer, text: &str) -> Option<&'static str> {
    let token = answer.text("token");
    let mut all = if token.is_empty() {
        text.to_owned()
    } else {
        text.replace(token, "")
    };
    for (name, value) in answer.headers.as_object().into_iter().flatten() {
        if name != "link" {
            all.push_str(&format!(" {name}: {value}"));
        }
    }
    let all = all.to_lowercase();
    NOT_FOR_CLIENTS.into_iter().find(|word| all.contains(word))
}

/// Checks an expected answer: JSON, a problem for a refusal, or nothing after a deletion.
fn served(answer: &Answer, text: &str) -> Result<Seen, &'static str> {
    let whole = match answer.status {
        204 => text.is_empty(),
        400..500 => {
            answer.header("content-type") == Some("application/problem+json")
                && answer.text("type").starts_with("urn:seer:problem:")
        }
        _ => {
            (answer.body.is_object() || answer.body.is_array())
                && answer.header("content-type") == Some("application/json")
        }
    };
    if whole {
        Ok(Seen::Served(answer.status))
    } else {
        Err("the wrong body")
    }
}

/// Classifies a failure, if the contract allows it.
fn refusal(answer: &Answer) -> Result<Seen, &'static str> {
    if answer.header("content-type") != Some("application/problem+json") {
        return Err("no problem document");
    }
    let members = answer.body.get("status").and_then(Value::as_u64) == Some(answer.status.into())
        && !answer.text("title").is_empty()
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
        .is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0));
    match (answer.status, kind) {
        (503, _) if !waits => Err("503 without Retry-After"),
        (503, "commit-unknown") => Ok(Seen::Unknown),
        (503, "database-unavailable") => Ok(Seen::Refused),
        _ => Err("not an answer to this request"),
    }
}

fn broken(what: String) -> (Seen, Option<Answer>) {
    (Seen::Broken(what), None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(status: u16, retry_after: bool, content_type: &str, body: Value) -> Seen {
        let mut headers = json!({"content-type": content_type});
        if retry_after {
            headers["retry-after"] = json!("1");
        }
        let event = json!({"statusCode": status, "headers": headers, "body": body.to_string()});
        judge(&Outcome::Success(event.to_string().into()), &[200]).0
    }

    fn problem(status: u16, kind: &str, detail: &str) -> Value {
        let kind = format!("urn:seer:problem:{kind}");
        json!({"type": kind, "title": "T", "status": status, "detail": detail, "requestId": "r"})
    }

    const JSON: &str = "application/problem+json";

    #[test]
    fn contract_failures_are_classified() {
        let unavailable = problem(503, "database-unavailable", "Try again.");
        assert_eq!(seen(503, true, JSON, unavailable), Seen::Refused);
        assert_eq!(
            seen(503, true, JSON, problem(503, "commit-unknown", "Look.")),
            Seen::Unknown
        );
        assert_eq!(seen(200, false, "application/json", json!({})), Seen::Served(200));
        let random = json!({"token": "3DkR3nAIkNqTbTTjWviPg_meVh26K7LdDvNQ-voYZyA"});
        assert_eq!(seen(200, false, "application/json", random), Seen::Served(200));
    }

    #[test]
    fn other_answers_are_broken() {
        let unavailable = || problem(503, "database-unavailable", "Try again.");
        let without = |member: &str| {
            let mut problem = unavailable();
            problem[member] = json!("");
            problem
        };
        let bare = |status: u16, body: &str| {
            let headers = json!({"content-type": JSON, "retry-after": "1"});
            let event = json!({"statusCode": status, "headers": headers, "body": body});
            judge(&Outcome::Success(event.to_string().into()), &[200, 204]).0
        };
        let broken = [
            bare(503, ""),
            bare(500, ""),
            bare(200, ""),
            bare(204, "{}"),
            bare(200, "<html>"),
            seen(200, false, "text/plain", json!({})),
            seen(200, false, "application/json", json!("a text")),
            seen(200, false, "application/json", json!({"host": "127.0.0.1"})),
            seen(200, false, "application/json", json!({"detail": "deadlock detected"})),
            seen(500, false, "text/html", json!("Internal Server Error")),
            seen(502, false, JSON, problem(502, "database-unavailable", "Bad gateway.")),
            seen(504, true, JSON, problem(504, "database-unavailable", "Too late.")),
            seen(503, true, JSON, problem(500, "database-unavailable", "Try again.")),
            seen(409, false, JSON, problem(409, "conflict", "Wait.")),
            seen(503, false, JSON, unavailable()),
            seen(503, true, "application/json", unavailable()),
            seen(503, true, JSON, without("requestId")),
            seen(503, true, JSON, without("detail")),
            seen(503, true, JSON, without("title")),
            seen(503, true, JSON, without("type")),
            seen(500, false, JSON, problem(500, "internal", "Our mistake.")),
            seen(404, false, JSON, problem(404, "not-found", "There is none.")),
            seen(
                503,
                true,
                JSON,
                problem(503, "database-unavailable", "FATAL: terminating connection"),
            ),
            seen(
                503,
                true,
                JSON,
                problem(503, "database-unavailable", "connect to 127.0.0.1 failed"),
            ),
            seen(
                503,
                true,
                JSON,
                problem(503, "database-unavailable", "Sorry, too many clients already"),
            ),
            judge(&Outcome::Success("null".into()), &[200]).0,
            judge(&Outcome::TimedOut, &[200]).0,
            judge(&Outcome::FunctionError("{}".into()), &[200]).0,
            judge(&Outcome::InitFailed("{}".into()), &[200]).0,
            judge(&Outcome::Crashed(Default::default()), &[200]).0,
            judge(&Outcome::Throttled, &[200]).0,
        ];
        for (number, seen) in broken.into_iter().enumerate() {
            assert!(matches!(seen, Seen::Broken(_)), "{number}: {seen:?}");
        }
    }
}
