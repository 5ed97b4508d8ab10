//! A function's answer, and the requirements on every answer: API Gateway's format, and if it is an error, a problem
//! that helps the client and contains nothing of the database.

use std::collections::BTreeMap;

use local::lambda::{Environment, Invocation, Outcome};
use serde_json::Value;

/// Words of the database, of its driver, and of Rust's types. No client may receive one.
const NOT_FOR_CLIENTS: [&str; 23] = [
    "postgres",
    "sqlstate",
    "sqlx",
    "database_url",
    "duplicate key",
    "violates",
    "relation \"",
    "column \"",
    "syntax error at",
    "pg_",
    "127.0.0.1",
    "deserialize",
    "panicked",
    "shared::",
    "invalid type",
    "struct ",
    "enum ",
    "variant",
    "option ",
    "draft",
    "expected a ",
    " f64",
    " i32",
];

/// An answer.
pub struct Answer {
    /// The function that answered.
    pub function: String,
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it arrived.
    pub body: String,
    /// Its invocation.
    pub invocation: Invocation,
}

impl Answer {
    /// Returns the answer of an invocation.
    pub fn of(function: &str, invocation: Invocation) -> Self {
        let Outcome::Success(payload) = &invocation.outcome else {
            let log = invocation.environment.as_ref().map(|environment| environment.log());
            panic!("{function} gave no answer: {:?}\n{log:#?}", invocation.outcome)
        };
        let event: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(event["isBase64Encoded"], false, "{function}: {event}");
        let headers = event["headers"].as_object().unwrap().iter();
        let headers = headers
            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
            .collect();
        let status = event["statusCode"].as_u64().unwrap();
        let answer = Self {
            function: function.to_owned(),
            status: status.try_into().unwrap(),
            headers,
            body: event["body"].as_str().unwrap_or_default().to_owned(),
            invocation,
        };
        answer.has_its_form();
        answer
    }

    /// Asserts the requirements on every answer of every function.
    fn has_its_form(&self) {
        let told = self.told();
        assert_eq!(
            self.headers.get("x-request-id"),
            Some(&self.invocation.request_id),
            "{told}"
        );
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
            assert_eq!(self.headers.get(name).map(String::as_str), Some(value), "{told}");
        }
        if self.status == 204 {
            assert_eq!(self.body, "", "{told}");
            return;
        }
        let content_type = self.headers.get("content-type").map(String::as_str);
        let health = self.function == "health" && self.status == 503;
        if self.status < 400 || health {
            assert_eq!(content_type, Some("application/json"), "{told}");
            serde_json::from_str::<Value>(&self.body).unwrap();
            return;
        }
        assert_eq!(content_type, Some("application/problem+json"), "{told}");
        let problem = self.json();
        assert!(
            problem["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("urn:seer:problem:")),
            "{told}"
        );
        assert!(
            problem["title"].as_str().is_some_and(|title| !title.is_empty()),
            "{told}"
        );
        assert!(
            problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{told}"
        );
        assert_eq!(problem["error"], problem["detail"], "{told}");
        assert_eq!(problem["status"], self.status, "{told}");
        assert_eq!(problem["requestId"], self.invocation.request_id, "{told}");
        assert_eq!(
            self.status == 401,
            self.headers.contains_key("www-authenticate"),
            "{told}"
        );
        assert_eq!(self.status == 405, self.headers.contains_key("allow"), "{told}");
        assert!(self.status != 503 || self.headers.contains_key("retry-after"), "{told}");
        let words = self.body.to_lowercase();
        for word in NOT_FOR_CLIENTS {
            assert!(!words.contains(word), "it tells a client {word:?}: {told}");
        }
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.told());
        self
    }

    /// Fails unless it is the problem of this status and kind, which ends its `type`.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Self {
        let this = self.is(status);
        assert_eq!(
            this.json()["type"],
            format!("urn:seer:problem:{kind}"),
            "{}",
            this.told()
        );
        this
    }

    /// Fails unless it is 422 and names this field, its rule, and both in the sentence for people.
    #[track_caller]
    pub fn names(self, field: &str) -> Self {
        let this = self.problem(422, "invalid");
        let problem = this.json();
        let named = &problem["errors"][0];
        assert_eq!(named["field"], field, "{}", this.told());
        let rule = named["rule"].as_str().unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            !rule.is_empty() && detail.contains(field) && detail.contains(rule),
            "{}",
            this.told()
        );
        this
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.told()))
    }

    /// Returns the items of a list.
    #[track_caller]
    pub fn items(&self) -> Vec<Value> {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.told()))
    }

    /// Returns the path and the query of a list's next page.
    #[track_caller]
    pub fn next_page(&self) -> Option<&str> {
        let link = self.header("link")?;
        let address = link
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
        Some(address.unwrap_or_else(|| panic!("{}", self.told())))
    }

    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the log line of its invocation, of which there is one.
    pub fn line(&self) -> Value {
        let lines: Vec<Value> = self
            .environment()
            .log()
            .iter()
            .filter(|line| line.contains("\"answered\""))
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["function_request_id"] == self.invocation.request_id.as_str())
            .collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.into_iter().next().unwrap()
    }

    /// Returns its environment.
    pub fn environment(&self) -> &Environment {
        self.invocation.environment.as_deref().unwrap()
    }

    /// Formats everything for the message of a failed test.
    fn told(&self) -> String {
        let log = self.environment().log();
        let last = log.len().saturating_sub(3);
        let log = log[last..].join("\n");
        format!(
            "{} answered {} {:?} {}\n{log}",
            self.function, self.status, self.headers, self.body
        )
    }
}
