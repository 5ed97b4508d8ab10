//! Mutated queries, cursors, bodies and deliveries: each gets an answer with the form of every answer, and no 5xx.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use local::mutation;
use serde_json::{Value, json};

use super::answer::Answer;
use super::backend::{Backend, CLERK_SECRET, WEBHOOK_SECRET};
use super::clerk;
use super::names::files;
use super::webhook::{self, Delivery};

mod events;

/// Functions with every kind of input: query, cursor, path, body, delivery.
const FUNCTIONS: [&str; 8] = [
    "clerk-webhook",
    "health",
    "invitations-create",
    "meetings-create",
    "meetings-list",
    "meetings-update",
    "meetings-webhook",
    "tasks-list",
];

/// The lists with pages.
const LISTS: [&str; 8] = [
    "analyses-list",
    "key-areas-list",
    "meetings-by-member",
    "meetings-changes",
    "meetings-list",
    "meetings-with-team-members",
    "tasks-all",
    "tasks-list",
];

fn survived(answer: &Answer, case: u64, input: &str) {
    assert!(
        answer.status < 500,
        "case {case}: {} {} for {input}",
        answer.status,
        answer.body
    );
}

/// The events are good; their queries and bodies, the client's part, are mutated.
#[tokio::test]
async fn mutated_requests_are_answered() {
    let backend = Backend::start().await;
    backend.execute(include_str!("../../../cli/src/seed.sql")).await;
    let events = files("tests/events", "json");
    let cursor = "limit=1&cursor=AAZJ2DZ6EAABkAAAAAAAcIAAAAAAAAAB&status=scheduled&from=2031-03-04T09:30:00%2B01:00";
    let queries = [
        cursor.to_owned(),
        "limit=1000&to=2031-03-04T09:30:00Z&teamMemberId=x".to_owned(),
    ];
    let names: Vec<&str> = FUNCTIONS
        .into_iter()
        .filter(|name| !name.ends_with("webhook"))
        .collect();
    let bodies: Vec<String> = names
        .iter()
        .filter_map(|name| {
            serde_json::from_str::<Value>(&events[*name]).unwrap()["body"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    for case in 0..mutation::cases(300) {
        let name = names[case as usize % names.len()];
        let mut event: Value = serde_json::from_str(&events[name]).unwrap();
        event["rawQueryString"] = json!(mutation::mutated(case, &queries));
        if event["body"].is_string() {
            event["body"] = json!(mutation::mutated(case, &bodies));
            // An unknown query parameter is refused before the body is read.
            event["rawQueryString"] = json!("");
        }
        let input = event.to_string();
        survived(&backend.send(name, event, false).await, case, &input);
    }
}

/// Returns a cursor with any time and id, which the server has not issued, or a mutated one.
fn cursor(case: u64) -> String {
    let mut random = Rng::with_seed(case);
    // The ends of the ranges of the number and of this program, the beginning of PostgreSQL's, and any time.
    let ends = [
        i64::MIN,
        i64::MAX,
        0,
        -210_866_803_200_000_000,
        chrono::DateTime::<chrono::Utc>::MIN_UTC.timestamp_micros(),
        chrono::DateTime::<chrono::Utc>::MAX_UTC.timestamp_micros(),
        random.i64(..),
    ];
    let end = ends[random.usize(..ends.len())];
    let at = end.saturating_add(random.i64(-2..=2));
    let id = [u128::MIN, u128::MAX, random.u128(..)][random.usize(..3)];
    let cursor = URL_SAFE_NO_PAD.encode([&at.to_be_bytes()[..], &id.to_be_bytes()].concat());
    match random.u8(..4) {
        0 => mutation::mutated(case, &[cursor]),
        _ => cursor,
    }
}

#[tokio::test]
async fn mutated_cursors_are_answered() {
    let backend = Backend::start().await;
    backend.execute(include_str!("../../../cli/src/seed.sql")).await;
    let events = files("tests/events", "json");
    for case in 0..mutation::cases(200) {
        let name = LISTS[case as usize % LISTS.len()];
        let mut event: Value = serde_json::from_str(&events[name]).unwrap();
        let cursor = cursor(case);
        let encoded: String = cursor.bytes().map(|byte| format!("%{byte:02X}")).collect();
        event["rawQueryString"] = json!(format!("limit=1&cursor={encoded}"));
        let answer = backend.send(name, event, false).await;
        if answer.status != 200 {
            answer.names("cursor");
        }
    }
}

/// Verified deliveries with mutated bodies.
#[tokio::test]
async fn mutated_deliveries_are_answered() {
    let backend = Backend::start().await;
    let recorder = [
        webhook::complete("bot-1"),
        webhook::status("bot-1", "call_ended", "09:30:00"),
    ];
    let recorder = recorder.map(|event| event.to_string());
    let person = json!({"type": "user.updated", "data": {
        "id": "user_x", "first_name": "Ada", "last_name": null, "primary_email_address_id": "idn_2",
        "email_addresses": [{"id": "idn_2", "email_address": "a@example.com", "verification": {"status": "verified"}}],
        "updated_at": 1_767_258_000_000_u64,
    }});
    let person = [
        person.to_string(),
        json!({"type": "user.deleted", "data": {"id": "user_x"}}).to_string(),
    ];
    for case in 0..mutation::cases(200) {
        for (secret, path, corpus) in [
            (WEBHOOK_SECRET, webhook::WEBHOOK, &recorder),
            (CLERK_SECRET, clerk::WEBHOOK, &person),
        ] {
            let mut delivery = Delivery::of(&json!({}));
            delivery.body = mutation::mutated(case, corpus);
            delivery.prefix = "svix";
            delivery.sign(secret);
            let answer = delivery.call_at(&backend, path).send().await;
            assert_ne!(answer.status, 401, "{}", answer.body);
            survived(&answer, case, &delivery.body);
        }
    }
}
