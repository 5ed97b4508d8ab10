//! The recording service's webhooks: applied once, in any order. `signatures` tests their authentication.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use uuid::Uuid;

use super::answer::Answer;
use super::backend::{Backend, WEBHOOK_SECRET};
use super::call::Call;
use super::people::{Team, id};

pub const WEBHOOK: &str = "/api/meetings/webhook";
pub const ALIAS: &str = "/api/meetingbaas/webhooks";

/// A delivery of the recording service.
pub struct Delivery {
    pub id: String,
    pub timestamp: i64,
    pub body: String,
    pub signature: String,
    pub prefix: &'static str,
}

impl Delivery {
    /// Returns a delivery of this event, now, with a new id.
    pub fn of(event: &Value) -> Self {
        Self::at(event, 0)
    }

    /// Returns a delivery of this event, sent this many seconds from now.
    pub fn at(event: &Value, offset: i64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut delivery = Self {
            id: format!("msg_{}", Uuid::now_v7()),
            timestamp: i64::try_from(now).unwrap() + offset,
            body: event.to_string(),
            signature: String::new(),
            prefix: "webhook",
        };
        delivery.sign(WEBHOOK_SECRET);
        delivery
    }

    pub fn sign(&mut self, secret: &str) {
        let signer = Webhook::new(secret).unwrap();
        self.signature = signer.sign(&self.id, self.timestamp, self.body.as_bytes()).unwrap();
    }

    pub async fn send(&self, backend: &Backend) -> Answer {
        self.call(backend).send().await
    }

    pub fn call<'a>(&self, backend: &'a Backend) -> Call<'a> {
        self.call_at(backend, WEBHOOK)
    }

    pub fn call_at<'a>(&self, backend: &'a Backend, path: &str) -> Call<'a> {
        let (timestamp, body) = (self.timestamp.to_string(), self.body.clone());
        let headers = [
            ("id", self.id.as_str()),
            ("timestamp", timestamp.as_str()),
            ("signature", &self.signature),
        ];
        let mut call = backend.post(path).body("application/json", body);
        for (name, value) in headers {
            call = call.header(&format!("{}-{name}", self.prefix), value);
        }
        call
    }
}

pub fn complete(bot: &str) -> Value {
    json!({
        "event": "complete",
        "data": {
            "bot_id": bot,
            "transcript": [
                {"speaker": "Ada", "words": [
                    {"start": 0.1, "end": 0.4, "word": "Good"}, {"start": 0.4, "end": 0.9, "word": "morning."}
                ]},
                {"speaker": "Max", "words": [{"start": 1.0, "end": 1.2, "word": "Hi!"}]},
            ],
            "speakers": ["Ada", "Max"],
            "mp4": "https://recordings.example.com/1.mp4",
        },
    })
}

pub fn status(bot: &str, code: &str, at: &str) -> Value {
    let at = format!("2031-03-04T{at}Z");
    json!({"event": "bot.status_change", "data": {"bot_id": bot, "status": {"code": code, "created_at": at}}})
}

/// Starts a backend with a meeting that the bot `bot-1` records.
pub async fn recorded(more: Value) -> (Backend, Team, String) {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let meeting = backend
        .meeting(&team, super::people::with(json!({"meetingBaasId": "bot-1"}), more))
        .await;
    let path = format!("/api/meetings/{}", id(&meeting));
    (backend, team, path)
}

pub async fn read(backend: &Backend, team: &Team, path: &str) -> Value {
    backend.get(path).by(&team.admin).send().await.is(200).json()
}

async fn deliver(backend: &Backend, event: &Value) {
    assert_eq!(
        Delivery::of(event).send(backend).await.is(200).json(),
        json!({"received": true})
    );
}

#[tokio::test]
async fn complete_recording_is_stored() {
    let (backend, team, path) = recorded(json!({})).await;
    deliver(&backend, &complete("bot-1")).await;
    let meeting = read(&backend, &team, &path).await;
    // As text, which the pages parse to find the words' times.
    let turns: Value = serde_json::from_str(meeting["transcript"].as_str().unwrap()).unwrap();
    assert_eq!(turns, complete("bot-1")["data"]["transcript"]);
    assert_eq!(meeting["speakers"], json!(["Ada", "Max"]));
    assert_eq!(meeting["recordingUrl"], "https://recordings.example.com/1.mp4");
    assert_eq!(
        (&meeting["status"], &meeting["processingStatus"]),
        (&json!("completed"), &json!("completed"))
    );
}

#[tokio::test]
async fn stale_client_keeps_the_recording() {
    let (backend, team, path) = recorded(json!({})).await;
    let before = backend.get(&path).by(&team.admin).send().await.is(200);
    deliver(&backend, &complete("bot-1")).await;
    let put = backend
        .put(&path)
        .by(&team.admin)
        .header("if-match", before.header("etag").unwrap());
    put.json(&json!({"transcript": null}))
        .send()
        .await
        .problem(412, "precondition-failed");
}

#[tokio::test]
async fn repeated_delivery_is_applied_once() {
    let (backend, team, path) = recorded(json!({})).await;
    let delivery = Delivery::of(&complete("bot-1"));
    let first = delivery.send(&backend).await.is(200);
    let put = backend
        .put(&path)
        .by(&team.admin)
        .json(&json!({"transcript": "Corrected by hand"}));
    put.send().await.is(200);
    let stored = backend.stored().await;
    let again = delivery.send(&backend).await.is(200);
    assert_eq!(again.body, first.body);
    assert_eq!(backend.stored().await, stored);
    // The service signs each attempt separately, under the same id.
    let mut retried = Delivery {
        id: delivery.id.clone(),
        ..Delivery::at(&complete("bot-1"), 60)
    };
    retried.sign(WEBHOOK_SECRET);
    retried.send(&backend).await.is(200);
    assert_eq!(backend.stored().await, stored);
}

#[tokio::test]
async fn concurrent_delivery_is_applied_once() {
    let (backend, team, path) = recorded(json!({})).await;
    let delivery = Delivery::of(&complete("bot-1"));
    let answers = join_all((0..5).map(|_| delivery.send(&backend))).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 409)));
    assert!(answers.iter().any(|answer| answer.status == 200));
    let meeting = backend.get(&path).by(&team.admin).send().await.is(200);
    assert_eq!(meeting.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn bot_status_follows_the_call() {
    let (backend, team, path) = recorded(json!({})).await;
    for (code, at, expected) in [
        ("joining_call", "09:00:00", ("scheduled", "pending")),
        ("in_waiting_room", "09:00:10", ("scheduled", "pending")),
        ("in_call_recording", "09:00:20", ("in_progress", "pending")),
        ("call_ended", "09:30:00", ("completed", "processing")),
    ] {
        deliver(&backend, &status("bot-1", code, at)).await;
        let meeting = read(&backend, &team, &path).await;
        let now = (
            meeting["status"].as_str().unwrap(),
            meeting["processingStatus"].as_str().unwrap(),
        );
        assert_eq!(now, expected, "{code}");
    }
    deliver(&backend, &complete("bot-1")).await;
    assert_eq!(read(&backend, &team, &path).await["processingStatus"], "completed");
}

#[tokio::test]
async fn late_event_does_not_revert_meeting() {
    let (backend, team, path) = recorded(json!({})).await;
    deliver(&backend, &status("bot-1", "call_ended", "09:30:00")).await;
    let ended = read(&backend, &team, &path).await;
    deliver(&backend, &status("bot-1", "in_call_recording", "09:00:20")).await;
    let late = read(&backend, &team, &path).await;
    assert_eq!(
        (&late["status"], &late["processingStatus"]),
        (&ended["status"], &ended["processingStatus"])
    );

    deliver(&backend, &complete("bot-1")).await;
    let whole = read(&backend, &team, &path).await;
    for (code, at) in [
        ("in_call_recording", "09:31:00"),
        ("call_ended", "09:32:00"),
        ("bot_removed", "09:33:00"),
    ] {
        deliver(&backend, &status("bot-1", code, at)).await;
        let meeting = read(&backend, &team, &path).await;
        assert_eq!(
            (&meeting["status"], &meeting["processingStatus"], &meeting["transcript"]),
            (&whole["status"], &whole["processingStatus"], &whole["transcript"]),
            "{code}"
        );
    }
}

#[tokio::test]
async fn older_status_does_not_replace_newer() {
    let (backend, team, path) = recorded(json!({})).await;
    deliver(&backend, &status("bot-1", "recording_failed", "09:30:05")).await;
    deliver(&backend, &status("bot-1", "call_ended", "09:30:00")).await;
    assert_eq!(read(&backend, &team, &path).await["processingStatus"], "failed");
    // Times are compared, not their text.
    let mut newer = status("bot-1", "call_ended", "x");
    newer["data"]["status"]["created_at"] = json!("2031-03-04T11:31:00.5+02:00");
    deliver(&backend, &newer).await;
    assert_eq!(read(&backend, &team, &path).await["processingStatus"], "processing");
}

#[tokio::test]
async fn recording_may_precede_call_end() {
    let (backend, team, path) = recorded(json!({})).await;
    deliver(&backend, &complete("bot-1")).await;
    deliver(&backend, &status("bot-1", "in_call_recording", "09:00:20")).await;
    deliver(&backend, &status("bot-1", "call_ended", "09:30:00")).await;
    let meeting = read(&backend, &team, &path).await;
    assert_eq!(
        (&meeting["status"], &meeting["processingStatus"]),
        (&json!("completed"), &json!("completed"))
    );
}

#[tokio::test]
async fn rejected_bot_marks_failure() {
    for code in [
        "bot_rejected",
        "waiting_room_timeout",
        "invalid_meeting_url",
        "meeting_error",
        "recording_failed",
    ] {
        let (backend, team, path) = recorded(json!({})).await;
        deliver(&backend, &status("bot-1", code, "09:05:00")).await;
        assert_eq!(
            read(&backend, &team, &path).await["processingStatus"],
            "failed",
            "{code}"
        );
    }
}

#[tokio::test]
async fn cancelled_meeting_stays_cancelled() {
    let (backend, team, path) = recorded(json!({"status": "cancelled"})).await;
    deliver(&backend, &complete("bot-1")).await;
    let meeting = read(&backend, &team, &path).await;
    assert_eq!(
        (&meeting["status"], &meeting["processingStatus"]),
        (&json!("cancelled"), &json!("completed"))
    );
}

#[tokio::test]
async fn other_events_are_acknowledged() {
    let (backend, team, path) = recorded(json!({})).await;
    let before = read(&backend, &team, &path).await;
    for event in [
        json!({"event": "calendar.sync", "data": {"bot_id": "bot-1"}}),
        json!({"event": "something.new", "anything": [1, 2, {"deep": null}]}),
        status("bot-1", "a_code_of_tomorrow", "09:00:00"),
    ] {
        deliver(&backend, &event).await;
    }
    assert_eq!(read(&backend, &team, &path).await, before);
}

#[tokio::test]
async fn malformed_event_names_its_fault() {
    let (backend, ..) = recorded(json!({})).await;
    let before = backend.stored().await;
    let mut broken = Delivery::of(&complete("bot-1"));
    broken.body = "{\"event\": ".to_owned();
    broken.sign(WEBHOOK_SECRET);
    broken.send(&backend).await.problem(400, "malformed");
    let mut no_bot = complete("bot-1");
    no_bot["data"].as_object_mut().unwrap().remove("bot_id");
    let mut number = complete("bot-1");
    number["data"]["bot_id"] = json!(7);
    // Members by position instead of by name.
    let by_place = json!({"event": "complete", "data": ["bot-1", null, null, null]});
    for (event, field) in [
        (json!({"data": {}}), "event"),
        (by_place, "data"),
        (no_bot, "bot_id"),
        (number, "bot_id"),
    ] {
        let answer = Delivery::of(&event).send(&backend).await.problem(422, "invalid");
        let named = answer.json()["errors"][0]["field"].as_str().unwrap().to_owned();
        assert!(named.contains(field), "{named} is named and not {field}");
    }
    assert_eq!(backend.stored().await, before);
}
