//! Mutated queries, bodies and deliveries: each gets an answer with the form of every answer, and no 5xx.

use local::mutation;
use serde_json::{Value, json};

use super::answer::Answer;
use super::backend::{Backend, CLERK_SECRET, WEBHOOK_SECRET};
use super::clerk;
use super::names::files;
use super::webhook::{self, Delivery};

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
