//! The requests of other services: the description of the recorder's delivery, which two routes accept, and the schema
//! of the identity provider's event.

use serde_json::{Value, json};

use super::{Operation, Schemas};
use crate::RECORDER;
use crate::meetings::webhook::{Acknowledgement, REFUSED};
use shared::http::Error;

/// Describes a delivery of the recording service.
pub fn recorder(operation: Operation, schemas: &mut Schemas) -> Operation {
    let acknowledgement = schemas.answer::<Acknowledgement>();
    let known = ["complete", "bot.completed", "failed", "bot.failed", "bot.status_change"];
    // Each object is a component, because generators name it.
    let recording = schemas.component(
        "Recording",
        json!({
            "type": "object",
            "properties": {
                "bot_id": {"type": "string", "pattern": r"\S", "maxLength": 200},
                "extra": {"description": "Its `meetingId` names the meeting, if none has the bot yet."},
                "status": {"description": "`code` and `created_at` of a status change."},
                "transcript": {"description": "Turns, `{speaker, words: [{start, end, word}]}`; or text."},
                "transcription": {"description": "The same, or its address."},
                "speakers": {"description": "Names, or objects with a `name`."},
                "mp4": {"description": "The address of the recording."},
                "video": {"description": "The same, in version 2."},
                "audio": {"description": "The address of the sound, stored if there is no other recording."},
            },
            "required": ["bot_id"],
        }),
    );
    let event = schemas.component(
        "RecordingEvent",
        json!({
            "type": "object",
            "properties": {"event": {"type": "string", "enum": known}, "data": recording},
            "required": ["event", "data"],
        }),
    );
    let other = schemas.component(
        "OtherRecordingEvent",
        json!({
            "type": "object",
            "properties": {"event": {"type": "string", "not": {"enum": known}}},
            "required": ["event"],
        }),
    );
    let body = schemas.component(
        "WebhookEvent",
        json!({
            "description": "An event of the recording service's API, version 1 or 2. Of a known event only the bot is \
                required: members that cannot be read are skipped. Other events are acknowledged and ignored.",
            "oneOf": [event, other],
        }),
    );
    operation
        .public()
        .header(
            "webhook-id",
            "The delivery's id, the same for each retry (Standard Webhooks; or `svix-id`).",
            "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        )
        .header(
            "webhook-timestamp",
            "When it was sent: Unix time in seconds, at most five minutes off (or `svix-timestamp`).",
            "1767258000",
        )
        .header(
            "webhook-signature",
            "HMAC-SHA256 with the secret over id, timestamp and raw body (or `svix-signature`).",
            "v1,57YwqnFhyVZ7mr8jC96NLyOXdWktDF0od7WjSU1Ovek=",
        )
        .header(
            "x-meeting-baas-api-key",
            "The account's API key, instead of a signature, in deliveries of version 1.",
            "0123456789abcdef0123456789abcdef",
        )
        .header(
            "x-mb-secret",
            "The secret of a bot's callback, instead of a signature, in version 2.",
            "fedcba9876543210fedcba9876543210",
        )
        .body_up_to(
            RECORDER.largest_body,
            body,
            true,
            json!({
                "event": "complete",
                "data": {
                    "bot_id": "dev-bot-5",
                    "transcript": [
                        {"speaker": "Avery Adams", "words": [
                            {"start": 0.5, "end": 0.9, "word": "Welcome,"},
                            {"start": 0.9, "end": 1.4, "word": "everyone."},
                        ]},
                        {"speaker": "Gale Globex", "words": [
                            {"start": 2.0, "end": 2.3, "word": "Thank"}, {"start": 2.3, "end": 2.5, "word": "you."},
                        ]},
                    ],
                    "speakers": ["Avery Adams", "Gale Globex"],
                    "mp4": "https://recordings.example.com/dev-bot-5.mp4",
                },
            }),
        )
        .writes()
        .refuses(Error::unauthorized(REFUSED))
        .refuses(Error::field("data.bot_id", "is required"))
        .answers(
            200,
            "It is applied, kept until a meeting has its bot, or ignored",
            &[],
            acknowledgement,
            json!({"received": true}),
        )
}

/// Returns the schema of an event of the identity provider.
pub fn clerk_event(schemas: &mut Schemas) -> Value {
    let id = json!({"type": "string"});
    let time = json!({
        "oneOf": [
            {"type": "integer", "format": "int64", "minimum": 0, "maximum": 253_402_300_799_999_i64},
            {"type": "string", "pattern": "^[0-9]{1,14}$"},
        ],
        "description": "A Unix time in milliseconds.",
    });
    let mut object = |name: &str, properties: Value, required: &[&str]| {
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schemas.component(name, schema)
    };
    // Each object is a component, because generators name it.
    let user = object(
        "ClerkUser",
        json!({
            "id": id,
            "first_name": {"description": "Text."},
            "last_name": {"description": "Text."},
            "primary_email_address_id": {"description": "The `id` of one of the addresses."},
            "email_addresses": {"description": "Objects `{id, email_address, verification: {status}}`."},
            "updated_at": time,
        }),
        &["id", "updated_at"],
    );
    let gone = object("ClerkDeletedUser", json!({"id": id}), &["id"]);
    let known = ["user.updated", "user.deleted"];
    let only = |kind: &str| json!({"type": "string", "enum": [kind]});
    let updated = object(
        "ClerkUserUpdated",
        json!({"type": only(known[0]), "data": user}),
        &["type", "data"],
    );
    let deleted = object(
        "ClerkUserDeleted",
        json!({"type": only(known[1]), "data": gone}),
        &["type", "data"],
    );
    let other = object(
        "ClerkOtherEvent",
        json!({"type": {"type": "string", "not": {"enum": known}}}),
        &["type"],
    );
    schemas.component(
        "ClerkEvent",
        json!({
            "description": "An event of the identity provider. Of a changed account only its id and the time are \
                required: members that cannot be read are skipped. Other types are acknowledged and ignored.",
            "oneOf": [updated, deleted, other],
        }),
    )
}
