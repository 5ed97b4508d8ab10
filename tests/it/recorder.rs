//! The recorder's deliveries in full: every event of both API versions, verified in each way, twice, in any order, and
//! for meetings that exist later.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::backend::{API_KEY, Backend, CALLBACK_SECRET};
use super::people::{Team, id, meeting};
use super::webhook::{ALIAS, Delivery, WEBHOOK, complete, read, recorded, status};

/// The ways in which the recorder is recognized.
const PROOFS: [Proof; 3] = [Proof::Signature, Proof::ApiKey, Proof::Callback];

#[derive(Clone, Copy)]
enum Proof {
    Signature,
    ApiKey,
    Callback,
}

async fn deliver(backend: &Backend, proof: Proof, path: &str, body: &str) -> Answer {
    let call = match proof {
        Proof::Signature => {
            let mut delivery = Delivery::of(&json!({}));
            delivery.body = body.to_owned();
            delivery.prefix = "svix";
            // A delivery that is sent again has the same id.
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            delivery.id = format!("msg_{:x}", hasher.finish());
            delivery.sign(super::backend::WEBHOOK_SECRET);
            delivery.call_at(backend, path)
        }
        Proof::ApiKey => backend
            .post(path)
            .body("application/json", body)
            .header("x-meeting-baas-api-key", API_KEY),
        Proof::Callback => backend
            .post(path)
            .body("application/json", body)
            .header("x-mb-secret", CALLBACK_SECRET),
    };
    call.send().await
}

/// What version 1 reports about a call, in its order.
fn first_version(bot: &str) -> Vec<Value> {
    vec![
        status(bot, "joining_call", "09:00:00"),
        status(bot, "in_waiting_room", "09:00:05"),
        status(bot, "in_call_not_recording", "09:00:10"),
        status(bot, "in_call_recording", "09:00:20"),
        status(bot, "recording_paused", "09:10:00"),
        status(bot, "recording_resumed", "09:11:00"),
        status(bot, "call_ended", "09:30:00"),
        complete(bot),
        json!({"event": "transcription_complete", "data": {"bot_id": bot}}),
        json!({"event": "calendar.sync_events", "data": {
            "calendar_id": "cal-1", "last_updated_ts": "2031-03-04T09:00:00Z", "affected_event_uuids": ["e-1"],
        }}),
    ]
}

/// What version 2 reports about a call, in its order.
fn second_version(bot: &str) -> Vec<Value> {
    let step = |code: &str, at: &str| {
        let mut step = status(bot, code, at);
        step["data"]["event_id"] = json!(null);
        step["extra"] = json!({"source": "calendar"});
        step
    };
    vec![
        step("queued", "08:59:00"),
        step("joining_call", "09:00:00"),
        step("in_call_recording", "09:00:20"),
        step("call_ended", "09:30:00"),
        step("transcribing", "09:30:10"),
        step("completed", "09:31:00"),
        json!({"event": "bot.completed", "data": {
            "bot_id": bot, "event_id": null, "duration_seconds": 1_800, "data_deleted": false,
            "joined_at": "2031-03-04T09:00:10Z", "exited_at": "2031-03-04T09:30:00Z",
            "participants": [{"name": "Ada", "id": 1}, {"name": "Max", "id": null}],
            "speakers": [{"name": "Ada", "id": 1, "display_name": "Ada (host)"}],
            "video": "https://artifacts.example.com/1.mp4?signature=x", "audio": "https://artifacts.example.com/1.flac",
            "diarization": "https://artifacts.example.com/1.jsonl",
            "raw_transcription": "https://artifacts.example.com/raw.json?signature=x",
            "transcription": "https://artifacts.example.com/1.json?signature=x",
            "transcription_provider": "gladia", "transcription_ids": ["job-1"], "sent_at": "2031-03-04T09:31:00Z",
        }, "extra": {"source": "calendar"}}),
        json!({"event": "calendar.events_synced", "data": {"calendar_id": "cal-1"}}),
    ]
}

/// What version 1 reports about a call that nobody admits the bot to.
fn first_version_failing(bot: &str) -> Vec<Value> {
    vec![
        status(bot, "joining_call", "09:00:00"),
        status(bot, "in_waiting_room", "09:00:05"),
        status(bot, "bot_rejected", "09:10:00"),
        json!({"event": "failed", "data": {"bot_id": bot, "error": "BotNotAccepted", "message": "x"}}),
    ]
}

/// The same of version 2.
fn second_version_failing(bot: &str) -> Vec<Value> {
    vec![
        status(bot, "queued", "08:59:00"),
        status(bot, "joining_call", "09:00:00"),
        status(bot, "failed", "09:10:00"),
        json!({"event": "bot.failed", "data": {"bot_id": bot, "error_code": "BOT_NOT_ACCEPTED", "error_message": "x"}}),
    ]
}

/// Returns what the deliveries left of the meeting.
fn outcome(meeting: &Value) -> Value {
    json!([
        meeting["status"],
        meeting["processingStatus"],
        meeting["transcript"],
        meeting["speakers"],
        meeting["recordingUrl"],
    ])
}

fn of_first_version() -> Value {
    let turns = complete("b")["data"]["transcript"].clone();
    let words = |turn: &Value| {
        let words = turn["words"].as_array().unwrap().iter();
        let words: Vec<_> = words
            .map(|word| {
                format!(
                    r#"{{"start":{},"end":{},"word":{}}}"#,
                    word["start"], word["end"], word["word"]
                )
            })
            .collect();
        format!(r#"{{"speaker":{},"words":[{}]}}"#, turn["speaker"], words.join(","))
    };
    let turns: Vec<_> = turns.as_array().unwrap().iter().map(words).collect();
    let transcript = format!("[{}]", turns.join(","));
    json!([
        "completed",
        "completed",
        transcript,
        ["Ada", "Max"],
        "https://recordings.example.com/1.mp4"
    ])
}

/// Its transcript is not fetched, and nothing says that it was.
fn of_second_version() -> Value {
    json!([
        "completed",
        "processing",
        null,
        ["Ada"],
        "https://artifacts.example.com/1.mp4?signature=x"
    ])
}

fn of_failure() -> Value {
    json!(["scheduled", "failed", null, [], null])
}

/// Orders in which deliveries may arrive: as sent, reversed, the last one early, and in two halves.
fn orders(events: &[Value]) -> Vec<Vec<Value>> {
    let (mut reversed, mut early, mut halves) = (events.to_vec(), events.to_vec(), events.to_vec());
    reversed.reverse();
    early.rotate_right(4);
    let middle = halves.len() / 2;
    halves.rotate_left(middle);
    vec![events.to_vec(), reversed, early, halves]
}

#[tokio::test]
async fn any_order_has_the_same_outcome() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let mut number = 0;
    for (events, expected) in [
        (first_version as fn(&str) -> Vec<Value>, of_first_version()),
        (second_version, of_second_version()),
        (first_version_failing, of_failure()),
        (second_version_failing, of_failure()),
    ] {
        for (order, later) in (0..4).flat_map(|order| [(order, false), (order, true)]) {
            number += 1;
            let bot = format!("bot-{number}");
            let proof = PROOFS[number % 3];
            let events = orders(&events(&bot)).swap_remove(order);
            let body = json!({"meetingBaasId": bot});
            let mut made = None;
            if !later {
                made = Some(backend.meeting(&team, body.clone()).await);
            }
            for event in &events {
                // Twice, the second time at the other path: the account's webhook and the bot's own.
                for path in [WEBHOOK, ALIAS] {
                    deliver(&backend, proof, path, &event.to_string()).await.is(200);
                }
            }
            let made = match made {
                Some(made) => made,
                None => backend.meeting(&team, body).await,
            };
            let path = format!("/api/meetings/{}", id(&made));
            let now = read(&backend, &team, &path).await;
            assert_eq!(outcome(&now), expected, "order {order}, later {later}");
            if later {
                assert_eq!(
                    outcome(&made),
                    expected,
                    "the meeting's creator is answered what was recorded"
                );
            }
        }
    }
    let waiting = "SELECT count(*) FROM webhook_inbox WHERE applied_at IS NULL";
    assert_eq!(backend.number(waiting).await, 0);
    // What is still to be fetched is kept.
    let unfetched = "SELECT count(DISTINCT bot_id) FROM webhook_inbox WHERE transcript_url IS NOT NULL";
    assert_eq!(backend.number(unfetched).await, 8);
}

#[tokio::test]
async fn each_delivery_is_applied_once() {
    let (backend, team, path) = recorded(json!({})).await;
    let version = async || {
        let answer = backend.get(&path).by(&team.admin).send().await.is(200);
        (
            answer.header("etag").unwrap().to_owned(),
            answer.json()["updatedAt"].clone(),
        )
    };
    let body = complete("bot-1").to_string();
    let (_, before) = version().await;
    deliver(&backend, Proof::ApiKey, WEBHOOK, &body).await.is(200);
    let recorded = version().await;
    // By its time an analysis is older than the recording.
    assert!(recorded.0 == "\"2\"" && recorded.1 != before, "{recorded:?}");
    for at in [ALIAS, WEBHOOK] {
        deliver(&backend, Proof::ApiKey, at, &body).await.is(200);
        assert_eq!(version().await, recorded);
    }
    let answers = join_all((0..4).map(|_| deliver(&backend, Proof::Callback, WEBHOOK, &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(version().await, recorded);
}

#[tokio::test]
async fn failure_is_final_until_a_recording() {
    for failed in [
        json!({"event": "failed", "data": {"bot_id": "bot-1", "error": "BotNotAccepted", "message": "x"}}),
        json!({"event": "bot.failed", "data": {"bot_id": "bot-1", "error_code": "BOT_NOT_ACCEPTED", "error_message": "x"}}),
    ] {
        let (backend, team, path) = recorded(json!({})).await;
        for event in [
            failed,
            status("bot-1", "call_ended", "09:30:00"),
            status("bot-1", "failed", "09:31:00"),
        ] {
            deliver(&backend, Proof::ApiKey, WEBHOOK, &event.to_string())
                .await
                .is(200);
            let meeting = read(&backend, &team, &path).await;
            assert_eq!(
                (&meeting["status"], &meeting["processingStatus"]),
                (&json!("scheduled"), &json!("failed"))
            );
        }
        deliver(&backend, Proof::ApiKey, WEBHOOK, &complete("bot-1").to_string())
            .await
            .is(200);
        assert_eq!(outcome(&read(&backend, &team, &path).await), of_first_version());
    }
}

#[tokio::test]
async fn bot_given_later_brings_its_recording() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    deliver(&backend, Proof::ApiKey, WEBHOOK, &complete("bot-1").to_string())
        .await
        .is(200);
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    let given = backend
        .put(&path)
        .by(&team.admin)
        .json(&json!({"meetingBaasId": "bot-1"}));
    let given = given.send().await.is(200);
    assert_eq!(given.header("etag"), Some("\"2\""));
    assert_eq!(outcome(&given.json()), of_first_version());
    assert_eq!(outcome(&read(&backend, &team, &path).await), of_first_version());
}

#[tokio::test]
async fn named_meeting_is_given_the_bot() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let made = id(&backend.meeting(&team, json!({})).await);
    let theirs = id(&backend.meeting(&other, json!({})).await);
    let taken = id(&backend.meeting(&team, json!({"meetingBaasId": "bot-9"})).await);
    let named = |bot: &str, meeting: Uuid| {
        let mut event = complete(bot);
        event["data"]["extra"] = json!({"meetingId": meeting});
        event["data"]["audio"] = json!(Uuid::now_v7());
        event.to_string()
    };
    let version = async |team: &Team, meeting: Uuid| {
        let path = format!("/api/meetings/{meeting}");
        let answer = backend.get(&path).by(&team.admin).send().await.is(200);
        (
            answer.json()["meetingBaasId"].clone(),
            answer.header("etag").unwrap().to_owned(),
        )
    };
    deliver(&backend, Proof::Callback, WEBHOOK, &named("bot-1", made))
        .await
        .is(200);
    assert_eq!(version(&team, made).await, (json!("bot-1"), "\"2\"".to_owned()));
    // The bot has its meeting, and its team: no other meeting gets it.
    deliver(&backend, Proof::Callback, WEBHOOK, &named("bot-1", theirs))
        .await
        .is(200);
    assert_eq!(version(&team, made).await.1, "\"3\"");
    assert_eq!(version(&other, theirs).await, (json!(null), "\"1\"".to_owned()));
    // A meeting that has another bot keeps it.
    deliver(&backend, Proof::Callback, WEBHOOK, &named("bot-2", taken))
        .await
        .is(200);
    assert_eq!(version(&team, taken).await, (json!("bot-9"), "\"1\"".to_owned()));
    // A bot of the team whose meeting is gone is not given to another team.
    backend
        .delete(&format!("/api/meetings/{made}"))
        .by(&team.admin)
        .send()
        .await
        .is(204);
    deliver(&backend, Proof::Callback, WEBHOOK, &named("bot-1", theirs))
        .await
        .is(200);
    assert_eq!(version(&other, theirs).await, (json!(null), "\"1\"".to_owned()));
}

/// A calendar's bots are made by the recorder: a meeting names only its event.
#[tokio::test]
async fn event_gives_its_meeting_the_bot() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for (number, (name, later)) in [
        ("event_uuid", false),
        ("event_uuid", true),
        ("event_id", false),
        ("event_id", true),
    ]
    .into_iter()
    .enumerate()
    {
        let (bot, event) = (format!("bot-{number}"), format!("event-{number}"));
        let mut recorded = complete(&bot);
        recorded["data"][name] = json!(event);
        let body = recorded.to_string();
        let mut made = None;
        if !later {
            made = Some(backend.meeting(&team, json!({"calendarEventId": event})).await);
        }
        for path in [ALIAS, WEBHOOK] {
            deliver(&backend, Proof::ApiKey, path, &body).await.is(200);
        }
        let path = if let Some(made) = &made {
            format!("/api/meetings/{}", id(made))
        } else {
            // Given by a change.
            let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
            let put = backend.put(&path).by(&team.admin);
            put.json(&json!({"calendarEventId": event})).send().await.is(200);
            path
        };
        let now = backend.get(&path).by(&team.admin).send().await.is(200);
        assert_eq!(now.header("etag"), Some("\"2\""), "{name}, later {later}");
        assert_eq!(now.json()["meetingBaasId"], json!(bot));
        assert_eq!(outcome(&now.json()), of_first_version());
    }
    assert_eq!(backend.number("SELECT count(*) FROM webhook_inbox").await, 0);
}

/// Whoever knows the event of others must not get their recording.
#[tokio::test]
async fn event_of_several_meetings_gives_none() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let event = json!({"calendarEventId": "event-1"});
    let first = backend.meeting(&team, event.clone()).await;
    let second = backend.meeting(&other, event).await;
    let mut recorded = complete("bot-1");
    recorded["data"]["event_uuid"] = json!("event-1");
    deliver(&backend, Proof::ApiKey, WEBHOOK, &recorded.to_string())
        .await
        .is(200);
    let path = |meeting: &Value| format!("/api/meetings/{}", id(meeting));
    for (team, made) in [(&team, &first), (&other, &second)] {
        assert_eq!(&read(&backend, team, &path(made)).await, made);
    }
    // A bot that belongs to a team delivers to none of another's.
    let put = backend.put(&path(&first)).by(&team.admin);
    put.json(&json!({"meetingBaasId": "bot-1"})).send().await.is(200);
    assert_eq!(outcome(&read(&backend, &team, &path(&first)).await), of_first_version());
    backend.delete(&path(&first)).by(&team.admin).send().await.is(204);
    recorded["data"]["mp4"] = json!("https://recordings.example.com/2.mp4");
    deliver(&backend, Proof::ApiKey, WEBHOOK, &recorded.to_string())
        .await
        .is(200);
    let again = backend.put(&path(&second)).by(&other.admin);
    again.json(&json!({"calendarEventId": "event-1"})).send().await.is(200);
    assert_eq!(outcome(&read(&backend, &other, &path(&second)).await), outcome(&second));
}

/// Returns a report that names the event of a calendar.
fn of_event(mut report: Value, event: &str) -> Value {
    report["data"]["event_uuid"] = json!(event);
    report
}

fn failed(bot: &str) -> Value {
    json!({"event": "failed", "data": {"bot_id": bot, "error": "BotNotAccepted", "message": "x"}})
}

async fn deliver_all(backend: &Backend, reports: &[Value]) {
    for report in reports {
        let body = report.to_string();
        deliver(backend, Proof::ApiKey, WEBHOOK, &body).await.is(200);
    }
}

/// There is no video then, in either version.
#[tokio::test]
async fn recording_of_sound_alone_is_stored() {
    let (backend, team, path) = recorded(json!({})).await;
    let first = "https://recordings.example.com/1.wav";
    let second = "https://artifacts.example.com/1.flac?signature=x";
    for (event, url) in [
        (
            json!({"event": "complete", "data": {"bot_id": "bot-1", "audio": first}}),
            first,
        ),
        (
            json!({"event": "bot.completed", "data": {"bot_id": "bot-1", "video": null, "audio": second}}),
            second,
        ),
    ] {
        deliver_all(&backend, &[event]).await;
        assert_eq!(read(&backend, &team, &path).await["recordingUrl"], url);
    }
}

/// A bot that is sent again after the first failed, and the reports of both in any order.
#[tokio::test]
async fn second_bot_brings_its_recording() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for (number, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0]].into_iter().enumerate() {
        let [first, second, event] = ["first", "second", "event"].map(|name| format!("{name}-{number}"));
        for named in [false, true] {
            let (first, second) = (format!("{first}-{named}"), format!("{second}-{named}"));
            let made = if named {
                backend.meeting(&team, json!({"meetingBaasId": first})).await
            } else {
                backend.meeting(&team, json!({"calendarEventId": event})).await
            };
            let about = |report: Value| {
                let mut report = if named { report } else { of_event(report, &event) };
                report["data"]["extra"] = if named {
                    json!({"meetingId": id(&made)})
                } else {
                    json!(null)
                };
                report
            };
            // Its meeting is the first bot's before the second reports.
            deliver_all(&backend, &[about(status(&first, "in_call_recording", "09:00:00"))]).await;
            let reports = [
                about(status(&second, "in_call_recording", "09:10:00")),
                // Without the event.
                failed(&first),
                about(complete(&second)),
            ];
            deliver_all(&backend, &order.map(|place| reports[place].clone())).await;
            let now = read(&backend, &team, &format!("/api/meetings/{}", id(&made))).await;
            assert_eq!(now["meetingBaasId"], json!(second), "{order:?}, named {named}");
            assert_eq!(outcome(&now), of_first_version(), "{order:?}, named {named}");
        }
    }
    assert_eq!(backend.number("SELECT count(*) FROM webhook_inbox").await, 0);
}

/// The failure of the first bot and the recording of the second are committed at once.
#[tokio::test]
async fn simultaneous_failure_and_recording_meet() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for number in 0..12 {
        let [first, second, event] = ["first", "second", "event"].map(|name| format!("{name}-{number}"));
        let made = backend
            .meeting(&team, json!({"meetingBaasId": first, "calendarEventId": event}))
            .await;
        let (failure, recording) = (
            failed(&first).to_string(),
            of_event(complete(&second), &event).to_string(),
        );
        let (one, other) = tokio::join!(
            deliver(&backend, Proof::ApiKey, WEBHOOK, &failure),
            deliver(&backend, Proof::ApiKey, ALIAS, &recording),
        );
        one.is(200);
        other.is(200);
        let now = read(&backend, &team, &format!("/api/meetings/{}", id(&made))).await;
        assert_eq!(outcome(&now), of_first_version());
    }
}

/// A bot that has not failed keeps its meeting: its own recording may come.
#[tokio::test]
async fn second_bot_replaces_no_working_one() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let other = backend.team("two").await;
    let made = backend.meeting(&team, json!({"calendarEventId": "event-1"})).await;
    let path = format!("/api/meetings/{}", id(&made));
    let second = of_event(complete("bot-2"), "event-1");
    deliver_all(&backend, &[of_event(complete("bot-1"), "event-1"), second.clone()]).await;
    assert_eq!(read(&backend, &team, &path).await["meetingBaasId"], "bot-1");
    // Nor is another team's bot given to a meeting whose own failed.
    let failing = backend
        .meeting(&team, json!({"meetingBaasId": "bot-3", "calendarEventId": "event-3"}))
        .await;
    backend.meeting(&other, json!({"meetingBaasId": "bot-4"})).await;
    deliver_all(&backend, &[failed("bot-3"), of_event(complete("bot-4"), "event-3")]).await;
    let failing = read(&backend, &team, &format!("/api/meetings/{}", id(&failing))).await;
    assert_eq!(failing["meetingBaasId"], "bot-3");
    assert_eq!(outcome(&failing), of_failure());
}

#[tokio::test]
async fn recording_precedes_a_later_failure() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let reports = [
        complete("bot-1"),
        failed("bot-2"),
        status("bot-3", "in_call_recording", "09:00:00"),
    ];
    deliver_all(&backend, &reports.map(|report| of_event(report, "event-1"))).await;
    let made = backend.meeting(&team, json!({"calendarEventId": "event-1"})).await;
    assert_eq!(made["meetingBaasId"], "bot-1");
    assert_eq!(outcome(&made), of_first_version());
}

/// The other meeting of the event is deleted, or is about another event, and may be another team's.
#[tokio::test]
async fn last_meeting_of_an_event_gets_its_recording() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    for (number, (deleted, theirs)) in [(true, &team), (true, &other), (false, &team), (false, &other)]
        .into_iter()
        .enumerate()
    {
        let event = format!("event-{number}");
        let named = json!({"calendarEventId": event});
        let made = backend.meeting(&team, named.clone()).await;
        let second = format!("/api/meetings/{}", id(&backend.meeting(theirs, named).await));
        deliver_all(&backend, &[of_event(complete(&format!("bot-{number}")), &event)]).await;
        let path = format!("/api/meetings/{}", id(&made));
        assert_eq!(read(&backend, &team, &path).await, made);
        if deleted {
            backend.delete(&second).by(&theirs.admin).send().await.is(204);
        } else {
            let put = backend.put(&second).by(&theirs.admin);
            put.json(&json!({"calendarEventId": null})).send().await.is(200);
        }
        let now = backend.get(&path).by(&team.admin).send().await.is(200);
        assert_eq!(outcome(&now.json()), of_first_version(), "deleted {deleted}");
        assert_eq!(now.header("etag"), Some("\"2\""));
    }
    assert_eq!(backend.number("SELECT count(*) FROM webhook_inbox").await, 0);
}

/// Its first meeting had the bot already, so that the bot is the team's.
#[tokio::test]
async fn meeting_made_again_gets_its_recording() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for (number, later) in [false, true].into_iter().enumerate() {
        let (bot, event) = (format!("bot-{number}"), format!("event-{number}"));
        let named = json!({"calendarEventId": event});
        let first = id(&backend.meeting(&team, named.clone()).await);
        deliver_all(
            &backend,
            &[of_event(status(&bot, "in_call_recording", "09:00:00"), &event)],
        )
        .await;
        let path = format!("/api/meetings/{first}");
        backend.delete(&path).by(&team.admin).send().await.is(204);
        let recorded = of_event(complete(&bot), &event);
        let again = if later {
            deliver_all(&backend, &[recorded]).await;
            backend.meeting(&team, named).await
        } else {
            let made = backend.meeting(&team, named).await;
            deliver_all(&backend, &[recorded]).await;
            read(&backend, &team, &format!("/api/meetings/{}", id(&made))).await
        };
        assert_eq!(again["meetingBaasId"], json!(bot), "later {later}");
        assert_eq!(outcome(&again), of_first_version(), "later {later}");
    }
}

/// The failure is that of the bot before.
#[tokio::test]
async fn bot_given_after_a_failure_is_not_failed() {
    let (backend, team, path) = recorded(json!({})).await;
    deliver_all(&backend, &[failed("bot-1")]).await;
    let put = backend.put(&path).by(&team.admin);
    let given = put.json(&json!({"meetingBaasId": "bot-2"})).send().await.is(200).json();
    assert_eq!(given["processingStatus"], "pending");
    deliver_all(&backend, &[status("bot-2", "in_call_recording", "09:10:00")]).await;
    let now = read(&backend, &team, &path).await;
    assert_eq!(
        (&now["status"], &now["processingStatus"]),
        (&json!("in_progress"), &json!("pending"))
    );
    // One that fails too is.
    deliver_all(&backend, &[failed("bot-2")]).await;
    assert_eq!(read(&backend, &team, &path).await["processingStatus"], "failed");
}

/// The meeting and the recording of its event are committed at once, each without having seen the other.
#[tokio::test]
async fn simultaneous_event_and_meeting_meet() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for number in 0..12 {
        let mut recorded = complete(&format!("bot-{number}"));
        recorded["data"]["event_uuid"] = json!(format!("event-{number}"));
        let body = recorded.to_string();
        let (answer, made) = tokio::join!(
            deliver(&backend, Proof::ApiKey, WEBHOOK, &body),
            backend.meeting(&team, json!({"calendarEventId": format!("event-{number}")})),
        );
        answer.is(200);
        let now = read(&backend, &team, &format!("/api/meetings/{}", id(&made))).await;
        assert_eq!(outcome(&now), of_first_version());
    }
    assert_eq!(backend.number("SELECT count(*) FROM webhook_inbox").await, 0);
}

#[tokio::test]
async fn bot_belongs_to_its_first_team() {
    let (backend, team, path) = recorded(json!({})).await;
    let other = backend.team("two").await;
    // The same answer as for an unknown bot.
    let bodies = ["bot-1", "bot-7"].map(|bot| meeting(other.member.id, json!({"meetingBaasId": bot})));
    let mut made = Vec::new();
    for body in &bodies {
        let answer = backend
            .post("/api/meetings")
            .by(&other.admin)
            .json(body)
            .send()
            .await
            .is(201);
        made.push(answer.json());
    }
    deliver(&backend, Proof::ApiKey, WEBHOOK, &complete("bot-1").to_string())
        .await
        .is(200);
    assert_eq!(outcome(&read(&backend, &team, &path).await), of_first_version());
    let theirs = format!("/api/meetings/{}", id(&made[0]));
    assert_eq!(read(&backend, &other, &theirs).await, made[0]);
    // Not when the first team's meeting is gone either, and what waits then is the first team's.
    backend.delete(&path).by(&team.admin).send().await.is(204);
    let mut again = complete("bot-1");
    again["data"]["mp4"] = json!("https://recordings.example.com/2.mp4");
    deliver(&backend, Proof::ApiKey, WEBHOOK, &again.to_string())
        .await
        .is(200);
    for bot in [json!(null), json!("bot-1")] {
        let put = backend
            .put(&theirs)
            .by(&other.admin)
            .json(&json!({"meetingBaasId": bot}));
        assert_eq!(put.send().await.is(200).json()["recordingUrl"], json!(null));
    }
    let own = backend.meeting(&team, json!({"meetingBaasId": "bot-1"})).await;
    assert_eq!(own["recordingUrl"], "https://recordings.example.com/2.mp4");
}

/// The meeting and its recording are committed at once, each without having seen the other.
#[tokio::test]
async fn simultaneous_recording_and_meeting_meet() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for number in 0..12 {
        let bot = format!("bot-{number}");
        let body = complete(&bot).to_string();
        let (answer, made) = tokio::join!(
            deliver(&backend, Proof::ApiKey, WEBHOOK, &body),
            backend.meeting(&team, json!({"meetingBaasId": bot})),
        );
        answer.is(200);
        let now = read(&backend, &team, &format!("/api/meetings/{}", id(&made))).await;
        assert_eq!(outcome(&now), of_first_version());
    }
    assert_eq!(backend.number("SELECT count(*) FROM webhook_inbox").await, 0);
}

#[tokio::test]
async fn odd_value_does_not_lose_a_recording() {
    let (backend, team, path) = recorded(json!({})).await;
    let mut event = complete("bot-1");
    event["data"]["transcript"][1]["words"] = json!(null);
    event["data"]["speakers"] = json!([{"id": 5}, "Ada"]);
    event["data"]["more"] = json!("MORE");
    // JSON that no database stores, or no reader reads: NUL, half a character, a number without end, too deep a value.
    let body = event
        .to_string()
        .replace("Good", "Go\\u0000\\ud800d")
        .replace("\"MORE\"", &format!("[1e999, {}{}]", "[".repeat(500), "]".repeat(500)));
    let answer = deliver(&backend, Proof::ApiKey, WEBHOOK, &body).await.is(200);
    let meeting = read(&backend, &team, &path).await;
    let turns: Value = serde_json::from_str(meeting["transcript"].as_str().unwrap()).unwrap();
    assert_eq!(turns[0]["words"][0]["word"], "Go\u{fffd}\u{fffd}d");
    assert_eq!(turns[1], json!({"speaker": "Max", "words": []}));
    assert_eq!(meeting["speakers"], json!(["Ada"]));
    assert_eq!(meeting["recordingUrl"], "https://recordings.example.com/1.mp4");
    let log = answer.environment().log();
    assert!(log.iter().any(|line| line.contains("\"skipped\":5")), "{log:#?}");
}

/// Members beside `data`, numbers as text and not at all, a byte order mark; then a delivery with nothing in it.
#[tokio::test]
async fn other_forms_lose_no_recording() {
    let (backend, team, path) = recorded(json!({})).await;
    let body = r#"{"event": "complete", "bot_id": "bot-1", "data": null, "transcript": [
        {"speaker": 1, "words": [{"start": NaN, "end": "0.5", "text": "Hi"}]}
    ], "speakers": [1]}"#;
    deliver(&backend, Proof::ApiKey, WEBHOOK, &format!("\u{feff}{body}"))
        .await
        .is(200);
    let mut empty = complete("bot-1");
    (empty["data"]["transcript"], empty["data"]["speakers"]) = (json!([]), json!([]));
    deliver(&backend, Proof::ApiKey, WEBHOOK, &empty.to_string())
        .await
        .is(200);
    let meeting = read(&backend, &team, &path).await;
    assert_eq!(
        meeting["transcript"],
        r#"[{"speaker":"1","words":[{"end":0.5,"word":"Hi"}]}]"#
    );
    assert_eq!(meeting["speakers"], json!(["1"]));
    assert_eq!(meeting["recordingUrl"], "https://recordings.example.com/1.mp4");
}

/// A sender is verified by then, and sends nothing else if it is refused.
#[tokio::test]
async fn media_type_loses_no_recording() {
    let (backend, team, path) = recorded(json!({})).await;
    for (number, media_type) in [
        "text/plain",
        "application/octet-stream",
        "application/json, application/json",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = complete("bot-1");
        let url = format!("https://recordings.example.com/{number}.mp4");
        event["data"]["mp4"] = json!(url);
        let call = backend.post(WEBHOOK).body(media_type, event.to_string());
        call.header("x-meeting-baas-api-key", API_KEY).send().await.is(200);
        assert_eq!(
            read(&backend, &team, &path).await["recordingUrl"],
            url,
            "{media_type:?}"
        );
    }
    let call = backend.post(WEBHOOK).body("application/json", b"\x1f\x8b".to_vec());
    let call = call
        .header("x-meeting-baas-api-key", API_KEY)
        .header("content-encoding", "gzip");
    call.send().await.problem(415, "unsupported-media-type");
}

/// A bot's id that was copied with a line's end is the one that the recorder reports.
#[tokio::test]
async fn spaces_around_ids_are_left_out() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let ids = json!({"meetingBaasId": " bot-1\n", "calendarEventId": "\tevent-1 "});
    let made = backend.meeting(&team, ids.clone()).await;
    assert_eq!(
        (&made["meetingBaasId"], &made["calendarEventId"]),
        (&json!("bot-1"), &json!("event-1"))
    );
    deliver(&backend, Proof::ApiKey, WEBHOOK, &complete("bot-1 ").to_string())
        .await
        .is(200);
    let path = format!("/api/meetings/{}", id(&made));
    assert_eq!(outcome(&read(&backend, &team, &path).await), of_first_version());
    let put = backend
        .put(&path)
        .by(&team.admin)
        .json(&ids)
        .send()
        .await
        .is(200)
        .json();
    assert_eq!(
        (&put["meetingBaasId"], &put["calendarEventId"]),
        (&json!("bot-1"), &json!("event-1"))
    );
}

/// Three hours of speech at 150 words a minute.
#[tokio::test]
async fn three_hours_of_speech_arrive() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let turn = |number: u32| {
        let word = |place: u32| {
            let centiseconds = (number * 10 + place) * 40;
            let [start, end] = [centiseconds, centiseconds + 35].map(|time| f64::from(time) / 100.0);
            json!({"start": start, "end": end, "word": format!("word{}", number * 10 + place)})
        };
        json!({"speaker": format!("Speaker {}", number % 3), "words": (0..10).map(word).collect::<Vec<_>>()})
    };
    let turns: Vec<_> = (0..2_700).map(turn).collect();
    // Twice, for a meeting that is there and for one that comes later.
    for (bot, proof, later) in [("bot-1", Proof::ApiKey, false), ("bot-2", Proof::Signature, true)] {
        let mut event = complete(bot);
        event["data"]["transcript"] = json!(turns);
        let body = event.to_string();
        assert!(body.len() > 1_400_000, "{}", body.len());
        let meeting = async || id(&backend.meeting(&team, json!({"meetingBaasId": bot})).await);
        let made = if later { None } else { Some(meeting().await) };
        for path in [ALIAS, WEBHOOK] {
            deliver(&backend, proof, path, &body).await.is(200);
        }
        let made = match made {
            Some(made) => made,
            None => meeting().await,
        };
        let meeting = read(&backend, &team, &format!("/api/meetings/{made}")).await;
        let kept: Value = serde_json::from_str(meeting["transcript"].as_str().unwrap()).unwrap();
        assert_eq!(kept, json!(turns), "later {later}");
    }
}

/// As many words as fit the largest delivery that the documentation promises.
#[tokio::test]
async fn delivery_of_four_mebibytes_arrives() {
    const LARGEST: usize = 4 * 1024 * 1024;
    let (backend, team, path) = recorded(json!({})).await;
    let word = |number: usize| json!({"start": 0.25, "end": 0.5, "word": format!("word{number:06}")});
    let count = LARGEST / (word(0).to_string().len() + 1) - 10;
    let mut event = complete("bot-1");
    event["data"]["transcript"] = json!([{"speaker": "Ada", "words": (0..count).map(word).collect::<Vec<_>>()}]);
    let body = event.to_string();
    let padding = " ".repeat(LARGEST - body.len());
    assert!(padding.len() < 1_000, "{}", padding.len());
    deliver(&backend, Proof::Signature, WEBHOOK, &format!("{padding}{body}"))
        .await
        .is(200);
    let meeting = read(&backend, &team, &path).await;
    let last = format!("word{:06}", count - 1);
    assert!(meeting["transcript"].as_str().unwrap().contains(&last));
    deliver(&backend, Proof::ApiKey, WEBHOOK, &format!("{padding}{body} "))
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn unproven_delivery_is_refused() {
    let (backend, ..) = recorded(json!({})).await;
    let before = backend.stored().await;
    let event = complete("bot-1");
    for path in [WEBHOOK, ALIAS] {
        for (name, value) in [
            ("x-meeting-baas-api-key", CALLBACK_SECRET),
            ("x-meeting-baas-api-key", &API_KEY[1..]),
            ("x-meeting-baas-api-key", ""),
            ("x-mb-secret", API_KEY),
            ("authorization", API_KEY),
        ] {
            let call = backend.post(path).json(&event).header(name, value);
            call.send().await.problem(401, "unauthorized");
        }
        // A signature is not made good by a key.
        let call = Delivery {
            signature: "v1,AAAA".to_owned(),
            ..Delivery::of(&event)
        }
        .call_at(&backend, path);
        call.header("x-meeting-baas-api-key", API_KEY)
            .send()
            .await
            .problem(401, "unauthorized");
    }
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn only_configured_proof_is_taken() {
    let secret = super::backend::WEBHOOK_SECRET;
    let backend = Backend::with(|function| {
        for (name, value) in &mut function.env {
            if name == "WEBHOOK_SECRET" {
                *value = secret.to_owned();
            }
        }
    })
    .await;
    let body = complete("bot-1").to_string();
    deliver(&backend, Proof::Signature, WEBHOOK, &body).await.is(200);
    for proof in [Proof::ApiKey, Proof::Callback] {
        deliver(&backend, proof, WEBHOOK, &body)
            .await
            .problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn public_secret_is_refused() {
    let public = ::functions::config::DEVELOPMENT_SECRET;
    let with = async |local: bool| {
        Backend::with(move |function| {
            for (name, value) in &mut function.env {
                if name == "WEBHOOK_SECRET" {
                    *value = public.to_owned();
                }
            }
            if local {
                function
                    .env
                    .push((::functions::config::LOCAL.to_owned(), "true".to_owned()));
            }
        })
        .await
    };
    let mut delivery = Delivery::of(&complete("bot-1"));
    delivery.sign(public);
    delivery.send(&with(false).await).await.problem(500, "misconfigured");
    delivery.send(&with(true).await).await.is(200);
}
