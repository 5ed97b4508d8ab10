//! A client of any function: sends its events, and compares each answer with those without a fault.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fastrand::Rng;
use local::lambda::{Invocation, Outcome};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::contract::Write;
use super::{AnyFunction, ID};
use crate::answer::payload;
use crate::client::{LONGEST, TRIES, with_last_words};
use crate::history::{Entry, History, Seen};
use crate::operations::{Workload, joined};
use crate::run::LoadClient;
use crate::team::WriteOutcome;
use crate::testbed::Testbed;

/// An answer: the status and body of an HTTP response, or the whole payload if it is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AnyAnswer {
    status: Option<u16>,
    body: Value,
}

impl AnyAnswer {
    fn of(payload: &[u8]) -> Self {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
        let whole = value(&String::from_utf8_lossy(payload));
        let status = whole.get("statusCode").and_then(Value::as_u64);
        match status.and_then(|status| status.try_into().ok()) {
            Some(status) => Self {
                status: Some(status),
                body: value(whole.get("body").and_then(Value::as_str).unwrap_or_default()),
            },
            None => Self {
                status: None,
                body: whole,
            },
        }
    }

    /// Returns the status; 200 if the answer has none.
    fn status(&self) -> u16 {
        self.status.unwrap_or(200)
    }
}

/// Compares a value with two values without a fault. Parts in which those two differ are ignored.
fn agrees(value: &Value, first: &Value, second: &Value) -> bool {
    match (value, first, second) {
        _ if first == second => value == first,
        (Value::Object(value), Value::Object(first), Value::Object(second)) if first.keys().eq(second.keys()) => {
            let same = |(name, first)| value.get(name).is_some_and(|value| agrees(value, first, &second[name]));
            value.len() == first.len() && first.iter().all(same)
        }
        (Value::Array(value), Value::Array(first), Value::Array(second)) if first.len() == second.len() => {
            let mut pairs = value.iter().zip(first.iter().zip(second));
            value.len() == first.len() && pairs.all(|(value, (first, second))| agrees(value, first, second))
        }
        _ => true,
    }
}

/// Judges the answer to a read.
fn judge_read(outcome: &Outcome, [first, second]: &[AnyAnswer; 2]) -> Seen {
    let answer = match payload(outcome) {
        Ok(payload) => AnyAnswer::of(payload),
        // Without HTTP, there is no other way to report a failure.
        Err(_) if first.status.is_none() && matches!(outcome, Outcome::FunctionError(_)) => return Seen::Refused,
        Err(why) => return Seen::Broken(why),
    };
    if answer.status == first.status && agrees(&answer.body, &first.body, &second.body) {
        Seen::Served(answer.status())
    } else if answer.status() >= 500 {
        Seen::Refused
    } else {
        let (status, body) = (answer.status(), answer.body);
        Seen::Broken(format!("another answer than without a fault: {status} {body}"))
    }
}

/// Judges the answer to a write by the contract.
fn judge_write(outcome: &Outcome, write: &Write) -> Seen {
    let answer = match payload(outcome) {
        Ok(payload) => AnyAnswer::of(payload),
        Err(why) => return Seen::Broken(why),
    };
    let (status, body) = (answer.status(), answer.body.to_string());
    if write.unknown.as_ref().is_some_and(|text| body.contains(text)) {
        Seen::Unknown
    } else if write.applied.contains(&status) {
        Seen::Served(status)
    } else if write.refused.contains(&status) {
        Seen::Refused
    } else if status >= 500 {
        Seen::Unknown
    } else {
        Seen::Broken(format!("an answer that the contract does not know: {status} {body}"))
    }
}

/// A write, and its outcome for the client.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) outcome: WriteOutcome,
}

/// One client.
pub(crate) struct Client {
    function: Arc<AnyFunction>,
    /// Two answers to each event, without a fault.
    expected: Arc<Vec<[AnyAnswer; 2]>>,
    testbed: Arc<Testbed>,
    history: Arc<History>,
    random: Rng,
    pub(super) written: Vec<Written>,
}

impl Client {
    /// Sends each event twice without a fault, then creates `count` clients that expect the same answers.
    ///
    /// # Errors
    /// An event fails, or the contract does not count a write.
    pub(crate) async fn settled(
        function: &AnyFunction,
        count: usize,
        seed: u64,
        testbed: &Arc<Testbed>,
        history: &Arc<History>,
    ) -> Result<Vec<Self>> {
        let mut first = Self {
            function: Arc::new(function.clone()),
            expected: Arc::default(),
            testbed: Arc::clone(testbed),
            history: Arc::clone(history),
            random: Rng::with_seed(seed),
            written: Vec::new(),
        };
        let mut expected = Vec::new();
        for event in 0..function.events.len() {
            expected.push([first.answer(event).await?, first.answer(event).await?]);
        }
        first.expected = Arc::new(expected);
        Ok((0..count).map(|_| first.fork()).collect())
    }

    /// Returns another client with the same expectations and other random choices.
    pub(super) fn fork(&mut self) -> Self {
        Self {
            function: Arc::clone(&self.function),
            expected: Arc::clone(&self.expected),
            testbed: Arc::clone(&self.testbed),
            history: Arc::clone(&self.history),
            random: self.random.fork(),
            written: Vec::new(),
        }
    }

    fn id(&mut self) -> String {
        let bytes = self.random.u128(..).to_ne_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// Returns the answer to an event without a fault.
    async fn answer(&mut self, event: usize) -> Result<AnyAnswer> {
        let (id, function) = (self.id(), Arc::clone(&self.function));
        let file = &function.events[event].file;
        let invocation = self.invoke(event, &id, false).await?;
        let answer = match payload(&invocation.outcome) {
            Ok(payload) => AnyAnswer::of(payload),
            Err(why) => bail!("{file} fails without a fault: {}", with_last_words(why, &invocation)),
        };
        let (status, body) = (answer.status(), &answer.body);
        match function.write(event) {
            Some(write) => {
                ensure!(
                    write.applied.contains(&status),
                    "{file} is not applied without a fault: {status} {body}"
                );
                let found = self.testbed.number(&write.count.replace(ID, &id)).await;
                let found = found.context("the contract's count cannot be run")?;
                ensure!(found == 1, "{file} is applied, and the contract counts {found}");
            }
            None => ensure!(status < 500, "{file} fails without a fault: {status} {body}"),
        }
        Ok(answer)
    }

    /// Sends a request of this kind, and repeats a write if the contract allows it. Returns the last answer.
    pub(super) async fn request(&mut self, kind: Workload, cold: bool) -> Result<Seen> {
        let (event, id, function) = (self.pick(kind), self.id(), Arc::clone(&self.function));
        let Some(write) = function.write(event) else {
            return self.send(event, &id, 1, cold).await;
        };
        let mut seen = self.send(event, &id, 1, cold).await?;
        let mut outcome = WriteOutcome::Absent;
        for attempt in 2.. {
            outcome = match seen {
                Seen::Served(_) => WriteOutcome::Done,
                Seen::Refused => outcome,
                Seen::Unknown | Seen::Broken(_) => WriteOutcome::Unknown,
            };
            if outcome == WriteOutcome::Done || !write.repeat || attempt > TRIES {
                break;
            }
            sleep(Duration::from_millis(self.random.u64(250..=1_000))).await;
            seen = self.send(event, &id, attempt, false).await?;
        }
        self.written.push(Written { id, outcome });
        Ok(seen)
    }

    /// Chooses an event of this kind; any event if there is none.
    fn pick(&mut self, kind: Workload) -> usize {
        let events = &self.function.events;
        let fits = |event: &usize| match kind {
            Workload::Everything => true,
            Workload::Get => !events[*event].is_write(),
            Workload::Writes | Workload::Update | Workload::GetAndUpdate | Workload::Refusals | Workload::Twins => {
                events[*event].is_write()
            }
        };
        let fitting: Vec<usize> = (0..events.len()).filter(fits).collect();
        match fitting.is_empty() {
            true => self.random.usize(0..events.len()),
            false => fitting[self.random.usize(0..fitting.len())],
        }
    }

    async fn invoke(&self, event: usize, id: &str, cold: bool) -> Result<Invocation> {
        let (name, event) = (self.function.name(), self.function.events[event].with(id));
        let invoked = async {
            match cold {
                true => self.testbed.lambda.invoke_cold(&name, event).await,
                false => self.testbed.lambda.invoke(&name, event).await,
            }
        };
        let longest = LONGEST + self.function.contract.timeout();
        timeout(longest, invoked).await.context("an invocation hangs")?
    }

    /// Sends an event once, and adds the judged answer to the record.
    async fn send(&self, event: usize, id: &str, attempt: u32, cold: bool) -> Result<Seen> {
        let sent = self.history.now();
        let invocation = self.invoke(event, id, cold).await?;
        let seen = match self.function.write(event) {
            Some(write) => judge_write(&invocation.outcome, write),
            None => judge_read(&invocation.outcome, &self.expected[event]),
        };
        let seen = match seen {
            Seen::Broken(what) => Seen::Broken(with_last_words(what, &invocation)),
            Seen::Served(_) | Seen::Refused | Seen::Unknown => seen,
        };
        self.history.add(Entry {
            function: self.function.name(),
            attempt,
            sent,
            took: self.history.now().saturating_sub(sent),
            seen: seen.clone(),
            cold: invocation.cold_start,
        });
        Ok(seen)
    }
}

impl LoadClient for Client {
    async fn act(&mut self, kind: Workload) -> Result<()> {
        self.request(kind, false).await.map(drop)
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(0..40))).await;
    }

    async fn burst(&mut self, environments: usize, requests: usize) -> Result<()> {
        let mut cold = JoinSet::new();
        for _ in 0..environments {
            let mut one = self.fork();
            cold.spawn(async move { one.request(Workload::Get, true).await.map(|_| one) });
        }
        let mut warm = JoinSet::new();
        for mut one in joined(cold).await? {
            warm.spawn(async move {
                for _ in 0..requests {
                    one.request(Workload::Get, false).await?;
                }
                anyhow::Ok(one)
            });
        }
        for one in joined(warm).await? {
            self.written.extend(one.written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use serde_json::json;

    use super::*;

    fn http(status: u16, body: &Value) -> Outcome {
        Outcome::Success(
            json!({"statusCode": status, "body": body.to_string()})
                .to_string()
                .into(),
        )
    }

    #[test]
    fn agrees_ignores_what_varies() {
        let first = json!({"one": 1, "at": 7, "list": [{"id": "a", "kind": "x"}]});
        let second = json!({"one": 1, "at": 8, "list": [{"id": "b", "kind": "x"}]});
        let agreed = |value: Value| agrees(&value, &first, &second);
        assert!(agreed(json!({"one": 1, "at": 9, "list": [{"id": "c", "kind": "x"}]})));
        assert!(!agreed(json!({"one": 2, "at": 9, "list": [{"id": "c", "kind": "x"}]})));
        assert!(!agreed(json!({"one": 1, "at": 9, "list": []})));
        assert!(!agreed(json!({"one": 1, "list": [{"id": "c", "kind": "x"}]})));
    }

    #[test]
    fn read_right_or_5xx_is_honest() {
        let answer = |body| AnyAnswer {
            status: Some(200),
            body,
        };
        let expected = [answer(json!({"one": 1})), answer(json!({"one": 1}))];
        let seen = |outcome: Outcome| judge_read(&outcome, &expected);
        assert_eq!(seen(http(200, &json!({"one": 1}))), Seen::Served(200));
        assert_eq!(seen(http(503, &json!("later"))), Seen::Refused);
        for outcome in [
            http(200, &json!({"one": 2})),
            http(404, &json!({"one": 1})),
            Outcome::FunctionError("{}".into()),
            Outcome::TimedOut,
            Outcome::Crashed(ExitStatus::default()),
        ] {
            assert!(matches!(seen(outcome.clone()), Seen::Broken(_)), "{outcome:?}");
        }
    }

    #[test]
    fn function_error_is_honest_without_http() {
        let expected = AnyAnswer::of(br#"{"one": 1}"#);
        let expected = [expected.clone(), expected];
        assert_eq!(
            judge_read(&Outcome::FunctionError("{}".into()), &expected),
            Seen::Refused
        );
    }

    #[test]
    fn write_is_judged_by_contract() {
        let write = Write {
            count: String::new(),
            applied: vec![201],
            refused: vec![409, 503],
            unknown: Some("commit-unknown".to_owned()),
            statement: String::new(),
            repeat: false,
        };
        let seen = |status, body: &str| judge_write(&http(status, &json!(body)), &write);
        assert_eq!(seen(201, "made"), Seen::Served(201));
        assert_eq!(seen(503, "unavailable"), Seen::Refused);
        assert_eq!(seen(503, "urn:problem:commit-unknown"), Seen::Unknown);
        assert_eq!(seen(500, "a bug"), Seen::Unknown);
        assert!(matches!(seen(200, "what"), Seen::Broken(_)));
        assert!(matches!(judge_write(&Outcome::TimedOut, &write), Seen::Broken(_)));
    }
}
