//! The recording service's deliveries: signed by Standard Webhooks, sent at least once, in any order.
//!
//! Each is applied exactly once: the delivery's id is its idempotency key. Order does not matter: a status older than
//! the last applied one is skipped, and no event undoes the data of `complete`. A bot that belongs to no meeting is
//! 404, so that the sender retries: the meeting may not be saved yet. Invariants: a delivery is not read before its
//! signature is verified.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize, de};
use standardwebhooks::Webhook;

use super::fields::{BotId, ProcessingStatus, Status, Time};
use crate::config::WebhookSecret;
use shared::db::{Session, WriteAttempt};
use shared::http::body::Object;
use shared::http::{Abort, Error, Request};
use shared::text::HttpUrl;
use shared::write_query;

/// The headers of a delivery; senders older than the standard use the prefix `svix` instead of `webhook`.
const HEADERS: [(&str, &str); 3] = [
    (standardwebhooks::HEADER_WEBHOOK_ID, "svix-id"),
    (standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, "svix-timestamp"),
    (standardwebhooks::HEADER_WEBHOOK_SIGNATURE, "svix-signature"),
];

/// Digits of a Unix time in seconds; more would overflow when its age is computed.
const LONGEST_TIMESTAMP: usize = 12;

/// How long a delivery is remembered: longer than the recording service retries it.
pub const DELIVERY_LIFETIME: Duration = Duration::from_secs(72 * 60 * 60);

/// A verified delivery.
#[derive(Debug)]
pub struct Delivery {
    /// The sender's id of the delivery, the same for each retry.
    pub id: String,
    /// The event.
    pub event: Event,
}

/// The answer to a delivery.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookReceipt))]
pub struct Receipt {
    /// Always true.
    received: bool,
}

impl Receipt {
    /// The answer to every accepted delivery, first or repeated.
    pub const RECEIVED: Self = Self { received: true };
}

/// An event of the recording service.
#[derive(Debug)]
pub enum Event {
    /// The recording is ready.
    Complete(Complete),
    /// The status of its bot changed.
    StatusChange(StatusChange),
    /// An event that this backend does not use.
    Other,
}

/// Unknown fields are accepted, because the sender may add some.
#[derive(Deserialize)]
struct Named {
    event: String,
}

#[derive(Deserialize)]
struct Body<T> {
    data: Object<T>,
}

/// The recorded data.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookComplete))]
pub struct Complete {
    bot_id: BotId,
    /// Absent if speech was not transcribed.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<Turn>>))]
    transcript: Option<Vec<Object<Turn>>>,
    speakers: Option<Vec<Speaker>>,
    mp4: Option<HttpUrl>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookTurn))]
struct Turn {
    speaker: Spoken,
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Word>))]
    words: Vec<Object<Word>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookWord))]
struct Word {
    word: Spoken,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookSpeaker))]
#[serde(untagged, expecting = "must be a name, or an object with a name")]
enum Speaker {
    Name(Spoken),
    Object { name: Spoken },
}

/// The status of a bot.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookStatusChange))]
pub struct StatusChange {
    bot_id: BotId,
    #[cfg_attr(feature = "openapi", schema(value_type = BotStatus))]
    status: Object<BotStatus>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookStatus))]
struct BotStatus {
    code: String,
    created_at: Time,
}

/// Text that PostgreSQL can store; it may be empty.
#[derive(Debug)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(pattern = r"^[^\u0000]*$"))]
struct Spoken(String);

impl<'de> Deserialize<'de> for Spoken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('\0') {
            return Err(de::Error::custom("must not contain the character NUL"));
        }
        Ok(Self(text))
    }
}

impl Delivery {
    /// Verifies a request's signature and age, then parses it.
    ///
    /// # Errors
    /// Fails with 401 for a signature that is absent, wrong or more than five minutes old or early, 500 without a
    /// secret, and 400, 415 or 422 for a body that does not match its event.
    pub fn of(request: &Request) -> Result<Self, Error> {
        let id = if request.is_rehearsal() {
            String::new()
        } else {
            verify(WebhookSecret::from_env()?, request.headers(), request.body())?
        };
        let Named { event } = request.json()?;
        let event = match event.as_str() {
            "complete" => Event::Complete(request.json::<Body<_>>()?.data.0),
            "bot.status_change" => Event::StatusChange(request.json::<Body<_>>()?.data.0),
            _ => Event::Other,
        };
        Ok(Self { id, event })
    }
}

/// Returns a delivery's id if its signature over id, time and raw body is valid.
fn verify(secret: &WebhookSecret, headers: &HeaderMap, body: &[u8]) -> Result<String, Error> {
    const REFUSED: &str = "The webhook's signature is missing, wrong, or more than five minutes old.";
    let refused = || Error::unauthorized(REFUSED);
    let mut signed = HeaderMap::new();
    for (name, older_name) in HEADERS {
        let value: &HeaderValue = headers
            .get(name)
            .or_else(|| headers.get(older_name))
            .ok_or_else(refused)?;
        signed.insert(HeaderName::from_static(name), value.clone());
    }
    let text = |name| {
        signed
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (id, timestamp) = (
        text(standardwebhooks::HEADER_WEBHOOK_ID),
        text(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP),
    );
    let sound = (1..=LONGEST_TIMESTAMP).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    if id.is_empty() || !sound {
        return Err(refused());
    }
    Webhook::from_bytes(secret.key().to_vec())
        .and_then(|webhook| webhook.verify(body, &signed))
        .map_err(|_| refused())?;
    Ok(id.to_owned())
}

/// Applies an event to its meeting.
///
/// # Errors
/// Fails with 404 if no meeting has its bot.
pub async fn apply(db: &mut Session, attempt: &WriteAttempt, event: &Event) -> Result<Receipt, Abort> {
    let known = match event {
        Event::Complete(complete) => finish(db, attempt, complete).await?,
        Event::StatusChange(change) => match change.status.0.step() {
            Some(step) => advance(db, attempt, change, step).await?,
            None => true,
        },
        Event::Other => true,
    };
    if known {
        return Ok(Receipt::RECEIVED);
    }
    Err(Error::not_found("meeting with this bot_id").into())
}

/// Stores the recording; fields that the event does not contain are kept. Returns whether a meeting has the bot.
async fn finish(db: &mut Session, attempt: &WriteAttempt, complete: &Complete) -> Result<bool, Abort> {
    let speakers: Option<Vec<String>> = complete
        .speakers
        .as_deref()
        .map(|all| all.iter().map(Speaker::name).collect());
    let row = write_query!(
        attempt,
        r#"updated AS (
            UPDATE meetings
            SET transcript = coalesce($6, transcript), speakers = coalesce($7, speakers),
                recording_url = coalesce($8, recording_url),
                status = CASE WHEN meetings.status = 'cancelled' THEN meetings.status ELSE 'completed' END,
                processing_status = 'completed', version = version + 1, updated_at = clock_timestamp()
            FROM known
            WHERE meeting_baas_id = $5 AND clear
            RETURNING meetings.id, meetings.version
        ), changed AS (
            SELECT 'meeting' AS kind, id, version, 200 AS status FROM updated
        )"#,
        r#"u.id AS "meeting?" FROM known LEFT JOIN updated u ON true"#,
        complete.bot_id.as_str(),
        complete.transcript.as_deref().map(transcript),
        speakers.as_deref(),
        complete.mp4.as_ref().map(HttpUrl::as_str),
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    Ok(row.meeting.is_some())
}

/// Advances a meeting's status, never back. Returns whether a meeting has the bot.
async fn advance(db: &mut Session, attempt: &WriteAttempt, change: &StatusChange, step: Step) -> Result<bool, Abort> {
    let row = write_query!(
        attempt,
        r#"meeting AS (
            SELECT id FROM meetings, known WHERE meeting_baas_id = $5 AND clear
        ), advanced AS (
            UPDATE meetings m
            SET status = CASE WHEN status IN ('completed', 'cancelled') THEN status ELSE coalesce($7, status) END,
                processing_status = coalesce($8, processing_status),
                bot_status_at = $6, version = version + 1, updated_at = clock_timestamp()
            FROM meeting
            WHERE m.id = meeting.id AND processing_status <> 'completed'
                AND (bot_status_at IS NULL OR bot_status_at <= $6)
            RETURNING m.id, m.version
        ), changed AS (
            SELECT 'meeting' AS kind, id, version, 200 AS status FROM advanced
        )"#,
        r#"m.id AS "meeting?" FROM known LEFT JOIN meeting m ON true"#,
        change.bot_id.as_str(),
        change.status.0.created_at.at(),
        step.status.map(Status::name),
        step.processing.map(ProcessingStatus::name),
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    Ok(row.meeting.is_some())
}

/// The effect of a bot's status on its meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    status: Option<Status>,
    processing: Option<ProcessingStatus>,
}

impl BotStatus {
    /// Maps the recording service's codes; returns `None` for intermediate and unknown ones.
    fn step(&self) -> Option<Step> {
        match self.code.as_str() {
            "in_call_recording" | "recording_resumed" => Some(Step {
                status: Some(Status::InProgress),
                processing: None,
            }),
            "call_ended" => Some(Step {
                status: Some(Status::Completed),
                processing: Some(ProcessingStatus::Processing),
            }),
            "bot_rejected"
            | "bot_removed"
            | "waiting_room_timeout"
            | "invalid_meeting_url"
            | "meeting_error"
            | "recording_failed" => Some(Step {
                status: None,
                processing: Some(ProcessingStatus::Failed),
            }),
            _ => None,
        }
    }
}

impl Speaker {
    fn name(&self) -> String {
        match self {
            Self::Name(name) | Self::Object { name } => name.0.clone(),
        }
    }
}

/// Formats one line per turn: the speaker, a colon, the text.
fn transcript(turns: &[Object<Turn>]) -> String {
    let line = |Object(turn): &Object<Turn>| {
        let words = turn
            .words
            .iter()
            .map(|Object(word)| word.word.0.trim())
            .filter(|word| !word.is_empty());
        format!("{}: {}", turn.speaker.0, words.collect::<Vec<_>>().join(" "))
    };
    turns.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret() -> WebhookSecret {
        WebhookSecret::parse(Some("whsec_c2VjcmV0".to_owned())).unwrap()
    }

    /// Returns the headers of a delivery signed `age` seconds ago, with the prefix of their names.
    fn signed(prefix: &str, age: i64, body: &[u8]) -> HeaderMap {
        let time = chrono::Utc::now().timestamp() - age;
        let signature = Webhook::from_bytes(secret().key().to_vec())
            .unwrap()
            .sign("msg_1", time, body)
            .unwrap();
        let values = [
            ("id", "msg_1".to_owned()),
            ("timestamp", time.to_string()),
            ("signature", signature),
        ];
        let header = |(name, value): (&str, String)| {
            (
                HeaderName::try_from(format!("{prefix}-{name}")).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        };
        values.into_iter().map(header).collect()
    }

    #[test]
    fn signature_accepts_either_prefix() {
        for prefix in ["webhook", "svix"] {
            assert_eq!(verify(&secret(), &signed(prefix, 0, b"{}"), b"{}").unwrap(), "msg_1");
        }
    }

    #[test]
    fn altered_or_stale_delivery_is_refused() {
        let refused = |headers: &HeaderMap, body: &[u8]| {
            assert!(
                matches!(verify(&secret(), headers, body), Err(Error::Unauthorized(_))),
                "{headers:?}"
            );
        };
        refused(&signed("webhook", 0, b"{}"), b"[]");
        refused(&signed("webhook", 301, b"{}"), b"{}");
        refused(&signed("webhook", -3600, b"{}"), b"{}");
        refused(&HeaderMap::new(), b"{}");
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed("webhook", 0, b"{}");
            headers.remove(name);
            refused(&headers, b"{}");
            for bad in [
                "",
                "-9223372036854775808",
                "9223372036854775807",
                "9999999999999",
                "v1,",
            ] {
                headers.insert(name, HeaderValue::from_static(bad));
                refused(&headers, b"{}");
            }
        }
    }

    #[test]
    fn transcript_has_a_line_per_turn() {
        let complete: Complete = serde_json::from_value(json!({
            "bot_id": "bot-1",
            "transcript": [
                {"speaker": "Ada", "words": [{"start": 0.1, "end": 0.2, "word": "Good"}, {"word": " morning. "}]},
                {"speaker": "Ben", "words": []},
            ],
            "speakers": ["Ada", {"name": "Ben", "id": 7}],
            "mp4": "https://recordings.example.com/1.mp4?signature=x",
        }))
        .unwrap();
        assert_eq!(
            transcript(complete.transcript.as_deref().unwrap()),
            "Ada: Good morning.\nBen: "
        );
        let names: Vec<_> = complete.speakers.unwrap().iter().map(Speaker::name).collect();
        assert_eq!(names, ["Ada", "Ben"]);
    }

    #[test]
    fn unstorable_text_is_refused() {
        for bad in [
            json!({"bot_id": "b", "transcript": [{"speaker": "a\0", "words": []}]}),
            json!({"bot_id": "b", "transcript": [{"speaker": "a", "words": [{"word": "\0"}]}]}),
            json!({"bot_id": "b", "speakers": ["\0"]}),
            json!({"bot_id": "b\0"}),
            json!({"bot_id": "b", "mp4": "javascript:alert(1)"}),
            // The same members, by position.
            json!(["b", null, null, null]),
            json!({"bot_id": "b", "transcript": [["a", []]]}),
            json!({"bot_id": "b", "transcript": [{"speaker": "a", "words": [["b"]]}]}),
            json!({"bot_id": "b", "speakers": [["a"]]}),
        ] {
            assert!(
                serde_json::from_value::<Object<Complete>>(bad.clone()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn unknown_code_changes_nothing() {
        let step = |code: &str| {
            BotStatus {
                code: code.to_owned(),
                created_at: serde_json::from_value("2031-03-04T09:30:00Z".into()).unwrap(),
            }
            .step()
        };
        assert_eq!(step("joining_call"), None);
        assert_eq!(step("transcribing"), None);
        assert_eq!(step("in_call_recording").unwrap().status, Some(Status::InProgress));
        assert_eq!(
            step("meeting_error").unwrap().processing,
            Some(ProcessingStatus::Failed)
        );
    }
}
