//! One client of the fleet: sends requests one after the other, retries when an answer says so, and compares the
//! answers with its knowledge.
//!
//! Invariants: never looks at the database. Every write has an Idempotency-Key, as the documentation recommends.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use http::Request;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::answer::{Answer, judge};
use super::history::{Entry, History, Seen};
use super::team::{RecordedWrite, Team, WriteOutcome};
use super::testbed::Testbed;
use local::gateway::{Claims, INTEGRATION_LIMIT, event};
use local::lambda::Invocation;

/// Attempts at one request before a client gives up on an answer that states that nothing was changed.
pub(super) const TRIES: u32 = 4;

/// Attempts before it gives up on finding out the outcome of a write.
const TRIES_TO_KNOW: u32 = 40;

/// Lines of an environment's log that are shown beside an invalid answer.
const LAST_WORDS: usize = 3;

/// INIT twice, and the function's timeout: longer than the service allows anything to take.
pub(super) const LONGEST: Duration = Duration::from_secs(90);

/// One request, for all its attempts.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
    claims: Option<Claims>,
    good: &'static [u16],
}

impl Call {
    /// Creates a request without a token.
    pub(super) fn new(method: &'static str, path: impl Into<String>, good: &'static [u16]) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: None,
            claims: None,
            good,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self.header("content-type", "application/json")
    }

    /// Adds a verified token of this subject.
    pub(super) fn by(mut self, sub: &str, email: &str) -> Self {
        let claims = json!({"iss": "https://issuer.example.com/", "sub": sub, "email": email, "name": sub});
        self.claims = claims.as_object().cloned();
        self
    }
}

/// The result of a request.
pub(super) enum Asked {
    /// The expected answer.
    Answered(Answer),
    /// No expected answer; the outcome of the request is given.
    Given(WriteOutcome),
}

/// A client and its team.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) testbed: Arc<Testbed>,
    pub(super) history: Arc<History>,
    /// Decides which requests it sends.
    pub(super) random: Rng,
    /// Decides when it sends them. Separate, so that a fault that costs more attempts does not change the following
    /// requests.
    times: Rng,
    pub(super) team: Team,
    pub(super) writes: Vec<RecordedWrite>,
    /// Contradictions to the contract or to its knowledge.
    pub(super) wrong: Vec<String>,
    /// An acknowledged update: its meeting, its key and the request.
    pub(super) older: Option<(String, String, Call)>,
    /// Whether the last read may be outdated: a standby may have answered it.
    excused: bool,
    /// Whether another client sends the same requests under the same keys.
    pub(super) has_twin: bool,
    markers: u32,
}

impl Client {
    pub(super) fn new(number: usize, seed: u64, testbed: &Arc<Testbed>, history: &Arc<History>) -> Self {
        let mut random = Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            number,
            testbed: Arc::clone(testbed),
            history: Arc::clone(history),
            times: random.fork(),
            random,
            team: Team::default(),
            writes: Vec::new(),
            wrong: Vec::new(),
            older: None,
            excused: false,
            has_twin: false,
            markers: 0,
        }
    }

    /// Returns a text that identifies one write.
    pub(super) fn marker(&mut self) -> String {
        self.markers += 1;
        format!("{}-{}", self.number, self.markers)
    }

    pub(super) fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(format!("client {}: {}", self.number, what.into()));
    }

    /// Records a read that contradicts the known state, unless it may be outdated.
    pub(super) fn wrong_read(&mut self, what: impl Into<String>) {
        if !self.excused {
            self.wrong(what);
        }
    }

    /// Waits for a client's time between two requests.
    pub(super) async fn rest(&mut self) {
        sleep(Duration::from_millis(self.times.u64(0..40))).await;
    }

    /// Sends a read until it is answered or refused too often.
    pub(super) async fn read(&mut self, call: Call) -> Result<Option<Answer>> {
        self.excused = self.testbed.may_be_stale();
        match self.ask(&call, false).await? {
            Asked::Answered(answer) => Ok(Some(answer)),
            Asked::Given(_) => Ok(None),
        }
    }

    /// Sends a write under its own key until it is answered, refused too often, or its outcome cannot be determined.
    pub(super) async fn write(&mut self, key: &str, call: Call) -> Result<Asked> {
        let call = call.header("idempotency-key", format!("key-{key}"));
        self.ask(&call, true).await
    }

    /// Repeats a write that was applied: it may be refused for a while, but has been applied regardless.
    pub(super) async fn repeat(&mut self, key: &str, call: Call) -> Result<Asked> {
        let call = call.header("idempotency-key", format!("key-{key}"));
        self.ask(&call, false).await
    }

    /// Sends a request, and retries it as the answers say.
    pub(super) async fn ask(&mut self, call: &Call, write: bool) -> Result<Asked> {
        let mut doubt = false;
        for attempt in 1..=TRIES_TO_KNOW {
            let (seen, answer) = self.send(call, attempt).await?;
            match seen {
                Seen::Served(_) => {
                    let answer = answer.context("an answer that was served")?;
                    if write && attempt > 1 && !doubt && !self.has_twin && answer.is_replayed() {
                        self.wrong(format!(
                            "{} {} was refused, and had been applied",
                            call.method, call.path
                        ));
                    }
                    return Ok(Asked::Answered(answer));
                }
                Seen::Refused if !doubt && attempt >= TRIES => return Ok(Asked::Given(WriteOutcome::Absent)),
                Seen::Refused => {}
                Seen::Unknown => doubt = true,
                Seen::Broken(what) => {
                    self.wrong(format!("{} {}: {what}", call.method, call.path));
                    if !write {
                        return Ok(Asked::Given(WriteOutcome::Absent));
                    }
                    if attempt >= TRIES {
                        return Ok(Asked::Given(WriteOutcome::Unknown));
                    }
                    doubt = true;
                }
            }
            // At least a quarter of Retry-After, so that a run takes no longer than necessary.
            sleep(Duration::from_millis(self.times.u64(250..=1_000))).await;
        }
        Ok(Asked::Given(if doubt {
            WriteOutcome::Unknown
        } else {
            WriteOutcome::Absent
        }))
    }

    async fn send(&mut self, call: &Call, attempt: u32) -> Result<(Seen, Option<Answer>)> {
        let (function, event) = self.event(call)?;
        let sent = self.history.now();
        let invoked = timeout(LONGEST, self.testbed.lambda.invoke(&function, event)).await;
        let invocation = invoked.context("an invocation hangs")??;
        Ok(self.note(call, function, attempt, sent, &invocation))
    }

    /// Sends a request once, in an environment that has not served before; a warm one serves the next.
    pub(super) async fn send_cold(&mut self, call: &Call) -> Result<Option<Answer>> {
        let (function, event) = self.event(call)?;
        let sent = self.history.now();
        let invoked = timeout(LONGEST, self.testbed.lambda.invoke_cold(&function, event)).await;
        let invocation = invoked.context("an invocation hangs")??;
        let (seen, answer) = self.note(call, function, 1, sent, &invocation);
        if let Seen::Broken(what) = &seen {
            self.wrong(format!("{} {}: {what}", call.method, call.path));
        }
        Ok(answer)
    }

    /// Judges the result, and adds it to the record.
    fn note(
        &self,
        call: &Call,
        function: String,
        attempt: u32,
        sent: Duration,
        invocation: &Invocation,
    ) -> (Seen, Option<Answer>) {
        let took = self.history.now().saturating_sub(sent);
        let (seen, answer) = match judge(&invocation.outcome, call.good) {
            // By then the gateway has answered instead.
            _ if took > INTEGRATION_LIMIT => (Seen::Broken(format!("503 of the gateway: {took:.1?}")), None),
            (Seen::Refused | Seen::Unknown | Seen::Served(503), _) if !explained(invocation) => {
                (Seen::Broken("503 whose log line does not say why".to_owned()), None)
            }
            judged => judged,
        };
        let seen = match seen {
            Seen::Broken(what) => Seen::Broken(with_last_words(what, invocation)),
            Seen::Served(_) | Seen::Refused | Seen::Unknown => seen,
        };
        self.history.add(Entry {
            function,
            attempt,
            sent,
            took,
            seen: seen.clone(),
            cold: invocation.cold_start,
        });
        (seen, answer)
    }

    /// Returns the function of a call's route, and the event that API Gateway would send it.
    fn event(&self, call: &Call) -> Result<(String, Value)> {
        let path = call.path.split('?').next().unwrap_or_default();
        let routes = self.testbed.routes.as_ref().context("the testbed has no routes")?;
        let matched = routes.find(call.method, path);
        let matched = matched.with_context(|| format!("the router has no {} {path}", call.method))?;
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("http://localhost:3001{}", call.path));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = request.body(body.into())?;
        let event = event(&matched, &request, call.claims.as_ref(), Ipv4Addr::LOCALHOST.into());
        Ok((matched.route.function.clone(), event))
    }
}

/// Returns whether the log has one line about the invocation, and the cause in it: an operator needs no other.
fn explained(invocation: &Invocation) -> bool {
    let Some(environment) = &invocation.environment else {
        return false;
    };
    let log = environment.log();
    let lines: Vec<Value> = log
        .iter()
        .filter(|line| line.contains(&invocation.request_id) && line.contains("\"answered\""))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let [line] = &*lines else { return false };
    let names = |field: &str| line[field].as_str().is_some_and(|text| !text.is_empty());
    line["level"] == "ERROR"
        && line["status"] == 503
        && ["kind", "phase", "error"].into_iter().all(names)
        && ["attempts", "duration_ms", "database_ms"]
            .into_iter()
            .all(|field| line[field].is_number())
}

/// Adds the last lines of the environment's log to an invalid answer, because they may show the cause.
pub(super) fn with_last_words(what: String, invocation: &Invocation) -> String {
    let Some(environment) = &invocation.environment else {
        return what;
    };
    let log = environment.log();
    let last = log.get(log.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
    format!("{what}; {environment:?} logged last: {}", last.join(" | "))
}
