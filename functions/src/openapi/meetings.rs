//! The operations of [`meetings`](crate::meetings).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::RECORDER;
use crate::meetings::agenda::Agenda;
use crate::meetings::webhook::{self, Receipt};
use crate::meetings::{Draft, ListedMeeting, Meeting, MeetingChange, MeetingType, Platform, Status, Time};
use shared::http::Error;
use shared::text::Id;

const ID: &str = "The meeting";
const ETAG: (&str, &str) = ("ETag", "ETag");
/// Meetings of the seed data: to be changed, to be deleted, with changes, recorded.
const PLANNED: &str = "01900000-0000-7000-8000-000000000103";
const CANCELLED: &str = "01900000-0000-7000-8000-000000000104";
const MOVED: &str = "01900000-0000-7000-8000-000000000101";
const RECORDED: &str = "01900000-0000-7000-8000-000000000102";
const MEMBER: &str = "01900000-0000-7000-8000-000000000002";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let meeting = schemas.answer::<Meeting>();
    let meetings = schemas.list::<ListedMeeting>();
    let agenda = schemas.answer::<Agenda>();
    let record = schemas.list::<MeetingChange>();
    let draft = schemas.request::<Draft>("A new meeting.");
    schemas.describe("MeetingDraft", "Meeting");
    let said = "The fields of a meeting that a client changes: at least one. Null clears an optional field.";
    let changes = schemas.changes("MeetingChanges", "MeetingDraft", said);
    schemas.defaults_to("MeetingDraft", "status", &json!(Status::default()));
    schemas.defaults_to("MeetingDraft", "meetingType", &json!(MeetingType::default()));
    schemas.defaults_to("MeetingDraft", "platform", &json!(Platform::default()));
    for list in ["speakers", "wins", "areasForSupport", "keyInsights"] {
        schemas.defaults_to("MeetingDraft", list, &json!([]));
    }
    let stranger = || Error::field("teamMemberId", "must be somebody of the meeting's team");
    let known_bot = || Error::conflict("Another meeting has this meetingBaasId.");
    let mut all = vec![
        filtered(operation!("meetings-list")).answers_page(meetings.clone(), listed()),
        filtered(operation!("meetings-with-team-members")).answers_page(meetings.clone(), listed()),
        operation!("meetings-by-member")
            .registered()
            .id("userId", "The team member", MEMBER)
            .paged()
            .reads()
            .refuses(Error::not_found("user"))
            .answers_page(meetings, listed()),
        operation!("meetings-create")
            .registered()
            .body(
                draft,
                true,
                json!({
                    "title": "Retrospective",
                    "teamMemberId": MEMBER,
                    "date": "2026-03-02T09:30:00+01:00",
                    "duration": 45,
                    "meetingType": "team_meeting",
                    "platform": "google_meet",
                    "platformMeetingUrl": "https://meet.google.com/klm-nopq-rst",
                    "agenda": "What went well, what did not",
                }),
            )
            .keyed()
            .refuses(Error::forbidden("Only an admin may create a meeting."))
            // A replay whose meeting has been deleted since.
            .refuses(Error::not_found("meeting"))
            .refuses(known_bot())
            .refuses(stranger())
            .answers(
                201,
                "The meeting",
                &[("Location", "Location"), ETAG],
                meeting.clone(),
                example(),
            ),
        operation!("meetings-get")
            .registered()
            .id("id", ID, RECORDED)
            .reads()
            .refuses(Error::not_found("meeting"))
            .answers(200, "The meeting", &[ETAG], meeting.clone(), example()),
        operation!("meetings-update")
            .registered()
            .id("id", ID, PLANNED)
            .conditional()
            .body(
                changes,
                true,
                json!({"title": "Sprint planning, moved", "date": "2026-03-05T13:00:00Z", "duration": 90}),
            )
            .keyed()
            .refuses(Error::not_found("meeting"))
            .refuses(Error::forbidden("Only the admin of its team may change a meeting."))
            .refuses(known_bot())
            .refuses(stranger())
            .answers(200, "The meeting as it is now", &[ETAG], meeting, example()),
        operation!("meetings-delete")
            .registered()
            .id("id", ID, CANCELLED)
            .conditional()
            .keyed()
            .refuses(Error::not_found("meeting"))
            .refuses(Error::forbidden("Only the admin of its team may delete a meeting."))
            .answers_nothing("It is gone"),
        operation!("meetings-changes")
            .registered()
            .id("id", ID, MOVED)
            .paged()
            .reads()
            .refuses(Error::not_found("meeting"))
            .answers_page(record, change()),
        operation!("meetings-agenda")
            .registered()
            .id("id", ID, RECORDED)
            .reads()
            .refuses(Error::not_found("meeting"))
            .answers(
                200,
                "The agenda",
                &[],
                agenda,
                json!({"phases": [{"name": "Agenda", "items": ["How the migration went"]}], "note": null}),
            ),
    ];
    all.extend(webhooks(schemas));
    all
}

/// A list of the meetings that the caller may see, with its filters.
fn filtered(list: Operation) -> Operation {
    list.registered()
        .paged()
        .query::<Status>("status", "Only meetings with this status.")
        .query::<Id>("teamMemberId", "Only meetings with this team member.")
        .query::<Time>("from", "The earliest date, inclusive.")
        .query::<Time>("to", "The latest date, inclusive.")
        .reads()
}

/// Describes both paths of the recorder's deliveries.
fn webhooks(schemas: &mut Schemas) -> [Operation; 2] {
    let receipt = schemas.answer::<Receipt>();
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
    let described = |operation: Operation| {
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
                body.clone(),
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
            .refuses(Error::unauthorized(webhook::REFUSED))
            .refuses(Error::field("data.bot_id", "is required"))
            .answers(
                200,
                "It is applied, kept until a meeting has its bot, or ignored",
                &[],
                receipt.clone(),
                json!({"received": true}),
            )
    };
    [operation!("meetings-webhook"), operation!("meetings-webhook-alias")].map(described)
}

fn example() -> Value {
    json!({
        "id": RECORDED,
        "title": "Weekly 1:1 with Morgan",
        "teamMemberId": MEMBER,
        "date": "2026-03-02T09:30:00Z",
        "duration": 30,
        "status": "completed",
        "meetingType": "one_on_one",
        "platform": "google_meet",
        "platformMeetingUrl": "https://meet.google.com/abc-defg-hij",
        "googleMeetLink": "https://meet.google.com/abc-defg-hij",
        "meetingBaasId": "dev-bot-2",
        "calendarEventId": null,
        "processingStatus": "completed",
        "recordingUrl": "https://recordings.example.com/dev-bot-2.mp4",
        "transcript": r#"[{"speaker":"Avery Adams","words":[{"start":0.5,"end":0.9,"word":"Welcome."}]}]"#,
        "speakers": ["Avery Adams", "Morgan Meyer"],
        "executiveSummary": "The migration went well.",
        "wins": ["The migration had no downtime"],
        "areasForSupport": ["Time to write documentation"],
        "keyInsights": [],
        "agenda": "How the migration went",
        "createdBy": "01900000-0000-7000-8000-000000000001",
        "createdAt": "2026-02-27T14:00:00.123456Z",
        "updatedAt": "2026-03-02T10:05:12.654321Z",
        "tasksData": [super::tasks::example(RECORDED)],
    })
}

fn listed() -> Value {
    let mut meeting = example();
    if let Some(members) = meeting.as_object_mut() {
        members.remove("transcript");
        members.remove("tasksData");
    }
    meeting["user"] = json!({
        "id": "01900000-0000-7000-8000-000000000001", "name": "Avery Adams", "email": "admin@example.com",
    });
    meeting["teamMember"] = json!({"id": MEMBER, "name": "Morgan Meyer", "email": "member@example.com"});
    meeting
}

fn change() -> Value {
    json!({
        "id": "01900000-0000-7000-8000-000000000301",
        "meetingId": MOVED,
        "changeType": "rescheduled",
        "previousTitle": null,
        "previousDate": "2026-03-02T08:30:00Z",
        "previousDuration": null,
        "newTitle": null,
        "newDate": "2026-03-02T09:30:00Z",
        "newDuration": null,
        "createdAt": "2026-03-01T16:20:00.123456Z",
    })
}
