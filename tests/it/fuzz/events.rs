//! Mutated events, as the Runtime API delivers them: each gets an answer of the function, and never an error of it.

use fastrand::Rng;
use local::lambda::{Invocation, Outcome};
use local::mutation::{self, MARKS};
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::backend::Backend;
use super::super::names::files;
use super::{FUNCTIONS, survived};

/// Functions that need no caller.
const PUBLIC: [&str; 3] = ["clerk-webhook", "health", "meetings-webhook"];

/// Events of other senders, and JSON that is no event.
fn other_senders() -> Vec<Value> {
    vec![
        // API Gateway's payload format 1.0.
        json!({
            "version": "1.0", "resource": "/api/meetings", "path": "/api/meetings", "httpMethod": "GET",
            "headers": {"Host": "api.example.com"}, "multiValueHeaders": {"Host": ["api.example.com"]},
            "queryStringParameters": null, "multiValueQueryStringParameters": null, "pathParameters": null,
            "requestContext": {
                "resourcePath": "/api/meetings", "httpMethod": "GET", "path": "/api/meetings", "stage": "$default",
                "authorizer": {"claims": {"sub": "dev-admin"}, "scopes": null}, "identity": {"sourceIp": "203.0.113.7"},
            },
            "stageVariables": null, "body": null, "isBase64Encoded": false,
        }),
        // An Application Load Balancer.
        json!({
            "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/x/1"}},
            "httpMethod": "GET", "path": "/api/meetings", "queryStringParameters": {"limit": "1"},
            "multiValueHeaders": {"accept": ["application/json"], "x-forwarded-for": ["203.0.113.7"]},
            "body": "", "isBase64Encoded": false,
        }),
        // A WebSocket API.
        json!({"requestContext": {"routeKey": "$default", "eventType": "MESSAGE", "connectionId": "x="}, "body": "{}"}),
        json!({"Records": [{"messageId": "1", "body": "{\"requestContext\":{}}", "eventSource": "aws:sqs"}]}),
        json!({}),
        json!([]),
        json!(null),
        json!(7),
        json!("requestContext"),
    ]
}

fn odd(random: &mut Rng) -> Value {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!(" "),
        json!("\0"),
        json!("\r\n"),
        json!("é\u{1F600}"),
        json!("%00%ff"),
        json!("e30="),
        json!("x".repeat(70_000)),
        json!([]),
        json!({}),
        json!([null]),
        json!({"": {"": []}}),
        json!(["a", "b"]),
        deep,
    ];
    values[random.usize(..values.len())].clone()
}

/// Returns the place of every member and item, as JSON Pointers: the parent and the last step.
fn places(value: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
        let members: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(place, value)| (place.to_string(), value))
                .collect(),
            _ => Vec::new(),
        };
        for (name, value) in members {
            let step = name.replace('~', "~0").replace('/', "~1");
            walk(value, &format!("{at}/{step}"), found);
            found.push((at.to_owned(), name));
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

/// Changes one member of an event: it is removed, replaced, repeated, renamed, or moved elsewhere.
fn change(random: &mut Rng, event: &mut Value, others: &[Value]) {
    let all = places(event);
    if all.is_empty() {
        return;
    }
    let (parent, name) = &all[random.usize(..all.len())];
    let elsewhere = &all[random.usize(..all.len())].0;
    let Some(Value::Object(members)) = event.pointer_mut(parent) else {
        return;
    };
    let Some(old) = members.remove(name) else { return };
    match random.u8(..7) {
        0 => {}
        1 => _ = members.insert(name.clone(), odd(random)),
        2 => {
            let other = &others[random.usize(..others.len())];
            let all = places(other);
            let found = all.get(random.usize(..all.len().max(1)));
            let found = found.and_then(|(parent, name)| other.pointer(parent)?.get(name));
            members.insert(name.clone(), found.unwrap_or(other).clone());
        }
        3 => {
            let text = old.as_str().map_or_else(|| old.to_string(), str::to_owned);
            members.insert(name.clone(), json!(mutation::mutated(random.u64(..), &[text])));
        }
        4 => _ = members.insert(name.clone(), json!([old, old])),
        5 => {
            let name = match random.bool() {
                true => name.to_uppercase(),
                false => mutation::mutated(random.u64(..), std::slice::from_ref(name)),
            };
            members.insert(name, old);
        }
        _ => {
            if let Some(Value::Object(members)) = event.pointer_mut(elsewhere) {
                members.insert(name.clone(), old);
            }
        }
    }
}

/// Returns the bytes of a mutated event. Three of four are JSON, as Lambda guarantees; the others are not always.
fn mutated(case: u64, event: &Value, others: &[Value]) -> Vec<u8> {
    let mut random = Rng::with_seed(case);
    let mut event = match random.u8(..10) {
        0 => others[random.usize(..others.len())].clone(),
        _ => event.clone(),
    };
    for _ in 0..random.usize(..=3) {
        change(&mut random, &mut event, others);
    }
    let text = event.to_string();
    match random.u8(..12) {
        0 => mutation::mutated_pieces(&mut random, &[text], mutation::characters, &MARKS).into_bytes(),
        1 => mutation::mutated_pieces(&mut random, &[text], mutation::words, &MARKS).into_bytes(),
        2 => {
            let mut bytes = text.into_bytes();
            let at = random.usize(..=bytes.len());
            bytes.splice(at..at, [b"\xff", b"\xc3", b"\x80"][random.usize(..3)].iter().copied());
            bytes
        }
        3 => text
            .replacen('{', "{\"requestContext\":null,\"headers\":{},", 1)
            .into_bytes(),
        4 => text.replacen("requestContext", "request\\u0043ontext", 1).into_bytes(),
        _ => text.into_bytes(),
    }
}

/// Fails unless the function answered a client, or if it is the health function, the schedule.
fn answered(name: &str, invocation: Invocation, case: u64, event: &[u8]) {
    let told = || format!("case {case}: {name} got {}", String::from_utf8_lossy(event));
    let Outcome::Success(payload) = &invocation.outcome else {
        panic!("{:?}, {}", invocation.outcome, told())
    };
    let report: Value = serde_json::from_slice(payload).unwrap();
    if name == "health" && report.get("statusCode").is_none() {
        assert_eq!(report["status"], "ok", "{}", told());
        return;
    }
    assert!(report.get("statusCode").is_some(), "{report}, {}", told());
    let answer = Answer::of(name, invocation);
    survived(&answer, case, &told());
    if answer.status < 300 && !PUBLIC.contains(&name) {
        let event: Value = serde_json::from_slice(event).unwrap();
        let subject = event.pointer("/requestContext/authorizer/jwt/claims/sub");
        assert!(subject.is_some(), "without a caller: {}", told());
    }
}

#[tokio::test]
async fn mutated_events_are_answered() {
    let backend = Backend::start().await;
    backend.execute(include_str!("../../../cli/src/seed.sql")).await;
    let events = files("tests/events", "json");
    let parsed = |name: &str| serde_json::from_str::<Value>(&events[name]).unwrap();
    let mut others = other_senders();
    others.push(parsed("health-scheduled"));
    others.extend(FUNCTIONS.map(parsed));
    for case in 0..mutation::cases(400) {
        let name = FUNCTIONS[case as usize % FUNCTIONS.len()];
        let event = mutated(case, &parsed(name), &others);
        answered(name, backend.invoke(name, event.clone()).await, case, &event);
    }
    for name in FUNCTIONS {
        assert_eq!(backend.environments(name).len(), 1, "an environment of {name} was lost");
    }
}

/// Lambda accepts JSON alone; an emulator may pass on anything.
#[tokio::test]
async fn event_that_is_no_json_is_answered() {
    let backend = Backend::start().await;
    for event in [
        "",
        " ",
        "{",
        "{\"requestContext\":",
        "requestContext",
        "{} {}",
        "{'a': 1}",
        "\u{feff}{}",
    ] {
        let answer = backend.send("meetings-list", event.as_bytes().to_vec(), false).await;
        answer.problem(400, "malformed");
    }
}

/// The sender learns why nothing happens.
#[tokio::test]
async fn event_that_is_no_request_is_answered() {
    let backend = Backend::start().await;
    let scheduled = files("tests/events", "json")["health-scheduled"].clone();
    for event in ["{}", "[]", "null", "7", &scheduled] {
        let answer = backend.send("meetings-list", event.as_bytes().to_vec(), false).await;
        let answer = answer.problem(400, "malformed");
        assert!(answer.body.contains("payload format 2.0"), "{}", answer.body);
    }
}
