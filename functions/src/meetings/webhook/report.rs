//! Reads a delivery leniently: the events of both API versions become one [`Report`], a row of `webhook_inbox`.
//!
//! Only an event without a name, or about no bot, is refused. Any other value that cannot be read is skipped and
//! counted, because a sender does not send another one, and the rest of the recording is worth keeping.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::fields::{BotId, EventId, ProcessingStatus, Status};
use super::transcript;
use super::values::{Members, Skipped, given, name, time_of};
use crate::repair::repaired;
use shared::http::size::weight;
use shared::http::{Error, Request};
use shared::text::{HttpUrl, Id};

/// The size of all speakers' names in an answer, in bytes: a list of meetings has them too.
const LONGEST_SPEAKERS: usize = 200_000;

/// A delivery's report about a bot.
#[derive(Debug, Serialize)]
pub struct Report {
    id: Uuid,
    received_at: DateTime<Utc>,
    bot_id: BotId,
    meeting_id: Option<Id>,
    event_id: Option<EventId>,
    kind: Kind,
    at: Option<DateTime<Utc>>,
    status: Option<Status>,
    processing_status: Option<ProcessingStatus>,
    transcript: Option<String>,
    transcript_url: Option<HttpUrl>,
    speakers: Option<Vec<String>>,
    recording_url: Option<HttpUrl>,
    skipped: Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Progress,
    Failed,
    Complete,
}

impl Report {
    /// Reads a verified delivery; returns `None` if it changes nothing about a meeting.
    ///
    /// # Errors
    /// Fails with 400 or 415 for a body that is not JSON, and with 422 if it has no event, or its event no bot.
    pub(super) fn read(request: &Request) -> Result<Option<Self>, Error> {
        let (text, replaced) = repaired(request.body());
        Self::of(request.json_from(text.as_bytes())?, replaced)
    }

    fn of(body: Map<String, Value>, replaced: usize) -> Result<Option<Self>, Error> {
        let event = match body.get("event") {
            Some(Value::String(event)) => normalized(event),
            Some(_) => return Err(Error::field("event", "must be text")),
            None => return Err(Error::field("event", "is required")),
        };
        let kind = match event.as_str() {
            "complete" | "bot.completed" => Kind::Complete,
            "failed" | "bot.failed" => Kind::Failed,
            "bot.status_change" => Kind::Progress,
            _ => return Ok(None),
        };
        let mut members = Members::of(body)?;
        let bot_id = members.take(&["bot_id"]);
        let bot_id = bot_id.ok_or_else(|| Error::field("data.bot_id", "is required"))?;
        let bot_id = serde_json::from_value(bot_id).map_err(|_| {
            let rule = "must be text of 1 to 200 characters: the recording service's bot_id";
            Error::field("data.bot_id", rule)
        })?;
        let extra = members.take(&["extra"]);
        let mut report = Self {
            id: Uuid::now_v7(),
            received_at: Utc::now(),
            bot_id,
            // The bot's creator may have written anything there.
            meeting_id: extra.and_then(|mut extra| serde_json::from_value(extra.get_mut("meetingId")?.take()).ok()),
            event_id: None,
            kind,
            at: None,
            status: None,
            processing_status: None,
            transcript: None,
            transcript_url: None,
            speakers: None,
            recording_url: None,
            skipped: Skipped::new(replaced),
        };
        // Version 1 calls it event_uuid, version 2 event_id.
        report.event_id = report
            .skipped
            .first_usable(members.take_all(&["event_uuid", "event_id"]));
        let changes = match kind {
            Kind::Complete => report.read_recording(&mut members),
            Kind::Failed => {
                report.processing_status = Some(ProcessingStatus::Failed);
                true
            }
            Kind::Progress => report.read_step(&mut members),
        };
        Ok(changes.then_some(report))
    }

    /// Reads what was recorded. An empty transcript or list of speakers is none, so that it replaces no other.
    fn read_recording(&mut self, members: &mut Members) -> bool {
        // Version 1 calls the video mp4, version 2 video. A recording of sound alone has only audio.
        let addresses = members.take_all(&["mp4", "video", "audio"]);
        self.recording_url = self.skipped.first_usable(addresses);
        let speakers = self.skipped.items(members.take(&["speakers"]));
        self.speakers = speakers
            .map(|speakers| self.names(speakers))
            .filter(|names| !names.is_empty());
        for member in ["transcript", "transcription"] {
            let transcript = match members.take(&[member]) {
                Some(Value::String(text)) if is_address(text.trim()) => {
                    self.transcript_url = self.skipped.first_usable(vec![text.into()]);
                    None
                }
                Some(Value::String(text)) if text.trim().is_empty() => None,
                Some(Value::String(text)) => Some(transcript::cut(text)),
                // A single turn.
                Some(turn @ Value::Object(_)) => transcript::of(vec![turn], &mut self.skipped),
                other => {
                    let turns = self.skipped.items(other);
                    turns.and_then(|turns| transcript::of(turns, &mut self.skipped))
                }
            };
            self.transcript = self.transcript.take().or(transcript);
        }
        true
    }

    fn names(&mut self, speakers: Vec<Value>) -> Vec<String> {
        let (sent, mut room) = (speakers.len(), LONGEST_SPEAKERS);
        let fitting = speakers.into_iter().filter_map(name).filter(|name| {
            let left = room.checked_sub(weight(name));
            room = left.unwrap_or(room);
            left.is_some()
        });
        let names: Vec<_> = fitting.collect();
        self.skipped.add(sent - names.len());
        names
    }

    /// Returns whether the step says anything about the meeting.
    fn read_step(&mut self, members: &mut Members) -> bool {
        let mut step = match members.take(&["status"]) {
            Some(Value::Object(step)) => step,
            Some(code @ Value::String(_)) => [("code".to_owned(), code)].into_iter().collect(),
            _ => Map::new(),
        };
        let code = given(&mut step, "code").or_else(|| members.take(&["code"]));
        let code = code.as_ref().and_then(Value::as_str).map(normalized);
        let Some((status, processing)) = code.as_deref().and_then(effect) else {
            return false;
        };
        (self.status, self.processing_status) = (status, processing);
        let at = given(&mut step, "created_at").or_else(|| members.take(&["created_at"]));
        self.at = Some(
            at.and_then(|at| self.skipped.checked(time_of(&at)))
                .unwrap_or(self.received_at),
        );
        true
    }

    /// Returns its id in the inbox.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Writes the operator's log lines: what could not be read, and what waits.
    pub(super) fn log(&self, applied: bool) {
        let (id, skipped) = (self.id.to_string(), self.skipped.count());
        if skipped > 0 {
            tracing::warn!(
                id,
                skipped,
                "a delivery has values that could not be read, which were skipped"
            );
        }
        if !applied {
            tracing::info!(id, "a delivery waits in webhook_inbox: no meeting has its bot");
        }
        if self.transcript_url.is_some() {
            tracing::warn!(id, "a delivery has the address of its transcript, which is not fetched");
        }
    }
}

/// Returns the name of an event or the code of a status in lower case, as the service writes them.
fn normalized(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

/// Returns whether a transcript is its address, and not a text that begins with one.
fn is_address(text: &str) -> bool {
    let begins = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    begins && !text.contains(char::is_whitespace)
}

/// Returns the effect of a bot's status code on its meeting; `None` for intermediate and unknown codes.
fn effect(code: &str) -> Option<(Option<Status>, Option<ProcessingStatus>)> {
    Some(match code {
        "in_call_recording" | "recording_resumed" => (Some(Status::InProgress), None),
        "call_ended" | "transcribing" => (Some(Status::Completed), Some(ProcessingStatus::Processing)),
        "completed" => (Some(Status::Completed), Some(ProcessingStatus::Completed)),
        "bot_rejected"
        | "bot_removed"
        | "waiting_room_timeout"
        | "invalid_meeting_url"
        | "meeting_error"
        | "recording_failed"
        | "failed" => (None, Some(ProcessingStatus::Failed)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Report {
        let Value::Object(body) = body else { panic!("{body}") };
        Report::of(body, 0).unwrap().unwrap()
    }

    fn recording(data: Value) -> Report {
        let mut data = data;
        data["bot_id"] = json!("bot-1");
        read(json!({"event": "complete", "data": data}))
    }

    #[test]
    fn words_keep_their_times() {
        let report = recording(json!({
            "transcript": [
                {"speaker": "Ada", "offset": 0.1, "words": [
                    {"start": 0.1, "end": 0.2, "word": "Good"}, {"word": " morning. "},
                ]},
                {"speaker": {"name": "Ben"}, "words": []},
            ],
            "speakers": ["Ada", {"name": "Ben", "id": 7}],
            "mp4": "https://recordings.example.com/1.mp4?signature=x",
        }));
        let expected = r#"[{"speaker":"Ada","words":[{"start":0.1,"end":0.2,"word":"Good"},{"word":" morning. "}]},{"speaker":"Ben","words":[]}]"#;
        assert_eq!(report.transcript.as_deref(), Some(expected));
        assert_eq!(report.speakers.unwrap(), ["Ada", "Ben"]);
        assert_eq!(report.skipped.count(), 0);
    }

    #[test]
    fn odd_values_are_skipped_and_counted() {
        let report = recording(json!({
            "transcript": [
                7, null, ["Ada", []],
                {"words": null},
                {"speaker": true, "words": "none"},
                {"speaker": "Ada", "words": [{"word": 1}, 7, null, {"start": "soon", "end": 0.5, "word": "Hi"}]},
            ],
            "speakers": ["Ada", false, {"id": 1}, null],
            "mp4": "javascript:alert(1)",
            "audio": [[]],
        }));
        let expected = r#"[{"speaker":"Unknown","words":[]},{"speaker":"Unknown","words":[]},{"speaker":"Ada","words":[{"end":0.5,"word":"Hi"}]}]"#;
        assert_eq!(report.transcript.as_deref(), Some(expected));
        assert_eq!(report.speakers.as_deref(), Some(&["Ada".to_owned()][..]));
        assert!(report.recording_url.is_none());
        assert_eq!(report.skipped.count(), 3 + 1 + 2 + 3 + 1 + 3 + 2);
        for data in [json!({"transcript": 5}), json!({"speakers": 5}), json!({"mp4": []})] {
            assert_eq!(recording(data).skipped.count(), 1);
        }
    }

    #[test]
    fn other_forms_are_read() {
        let report = read(json!({
            "event": "complete", "bot_id": "b", "mp4": "https://recordings.example.com/1.mp4", "data": null,
            "transcript": [
                {"speaker": 0, "words": ["Good", {"text": "morning", "start_time": "0.4", "end_time": 0.9}]},
                {"speaker": "Ada", "text": "Hi!", "start": 1, "end": 2, "words": null},
            ],
            "speakers": [0, {"name": "Ada"}],
        }));
        let expected = r#"[{"speaker":"0","words":[{"word":"Good"},{"start":0.4,"end":0.9,"word":"morning"}]},{"speaker":"Ada","words":[{"start":1.0,"end":2.0,"word":"Hi!"}]}]"#;
        assert_eq!(report.transcript.as_deref(), Some(expected));
        assert_eq!(report.speakers.unwrap(), ["0", "Ada"]);
        assert!(report.recording_url.is_some());
        assert_eq!(report.skipped.count(), 0);
        let turn = json!({"speaker": "Ada", "words": [{"word": "Hi"}]});
        let expected = r#"[{"speaker":"Ada","words":[{"word":"Hi"}]}]"#;
        assert_eq!(
            recording(json!({"transcript": turn})).transcript.as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn text_of_a_turn_without_words_is_kept() {
        for (words, skipped) in [
            (json!(null), 0),
            (json!([]), 0),
            (json!("none"), 1),
            (json!([null, {"word": 7}]), 2),
        ] {
            let turn = json!({"speaker": "Ada", "text": "Hi!", "start": 1, "end": 2, "words": words});
            let report = recording(json!({"transcript": [turn]}));
            let expected = r#"[{"speaker":"Ada","words":[{"start":1.0,"end":2.0,"word":"Hi!"}]}]"#;
            assert_eq!(report.transcript.as_deref(), Some(expected), "{words}");
            assert_eq!(report.skipped.count(), skipped, "{words}");
        }
        let turn = json!({"speaker": "Ada", "text": "Hello", "words": [{"word": "Hi"}]});
        let expected = r#"[{"speaker":"Ada","words":[{"word":"Hi"}]}]"#;
        assert_eq!(
            recording(json!({"transcript": [turn]})).transcript.as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn empty_transcript_replaces_none() {
        for transcript in [
            json!([]),
            json!(" "),
            json!(null),
            json!([{"speaker": "Ada", "words": []}]),
            json!([{"speaker": "Ada", "text": " ", "words": []}]),
        ] {
            let report = recording(json!({"transcript": transcript, "speakers": []}));
            assert_eq!((report.transcript, report.speakers), (None, None), "{transcript}");
        }
    }

    #[test]
    fn one_member_replaces_no_other() {
        let turn = json!({"speaker": "Ada", "words": [{"word": "Hi"}]});
        for (member, other) in [("transcript", "transcription"), ("transcription", "transcript")] {
            for nothing in [
                json!([]),
                json!({}),
                json!(""),
                json!(null),
                json!(5),
                json!("https://x.example.com/1.json"),
            ] {
                let report = recording(json!({member: [turn], other: nothing}));
                assert!(report.transcript.is_some_and(|text| text.contains("Hi")), "{nothing}");
            }
        }
    }

    #[test]
    fn recording_has_the_name_of_either_version() {
        let url = "https://recordings.example.com/1.mp4";
        for data in [
            json!({"mp4": url}),
            json!({"video": url}),
            json!({"mp4": null, "video": url}),
            json!({"mp4": url, "video": null}),
            // Of sound alone; then with sound beside it.
            json!({"audio": url}),
            json!({"mp4": null, "video": null, "audio": url}),
            json!({"video": url, "audio": "https://recordings.example.com/1.flac"}),
        ] {
            let report = recording(data.clone());
            assert_eq!(report.recording_url.unwrap().as_str(), url, "{data}");
            assert_eq!(report.skipped.count(), 0, "{data}");
        }
    }

    #[test]
    fn unusable_address_hides_no_other() {
        let url = "https://recordings.example.com/1.mp4";
        for (data, skipped) in [
            (json!({"mp4": "", "video": url}), 0),
            (json!({"mp4": " ", "video": "", "audio": url}), 0),
            (json!({"mp4": "javascript:alert(1)", "video": 5, "audio": url}), 2),
            (json!({"mp4": format!(" {url}\n")}), 0),
        ] {
            let report = recording(data.clone());
            assert_eq!(report.recording_url.unwrap().as_str(), url, "{data}");
            assert_eq!(report.skipped.count(), skipped, "{data}");
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        for event in ["Complete", " complete\n", "BOT.COMPLETED"] {
            assert_eq!(
                read(json!({"event": event, "data": {"bot_id": "b"}})).kind,
                Kind::Complete
            );
        }
        for code in ["IN_CALL_RECORDING", "In_Call_Recording", " in_call_recording "] {
            let report = read(json!({"event": "Bot.Status_Change", "bot_id": "b", "status": {"code": code}}));
            assert_eq!(report.status, Some(Status::InProgress), "{code}");
        }
    }

    #[test]
    fn long_transcript_loses_times_not_words() {
        let word = json!({"start": 1.25, "end": 1.75, "word": "word"});
        let turn = json!({"speaker": "Ada", "words": vec![word; 90_000]});
        let report = recording(json!({"transcript": [turn]}));
        let text = report.transcript.unwrap();
        assert!(text.starts_with("Ada: word word "), "{}", &text[..20]);
        assert_eq!(text.len(), "Ada:".len() + 90_000 * " word".len());
    }

    /// A text of quotes takes four times its length in an answer.
    #[test]
    fn meeting_stays_readable() {
        let quotes = "\"".repeat(1_900_000);
        for transcript in [
            json!(quotes),
            json!("\\".repeat(1_900_000)),
            json!([{"speaker": "Ada", "words": [{"word": quotes}]}]),
            json!([{"speaker": format!("é{quotes}"), "words": [{"word": "Hi"}]}]),
        ] {
            let report = recording(json!({"transcript": transcript, "speakers": ["Ada", quotes, "Ben"]}));
            let weight = weight(&report.transcript.unwrap());
            assert!(
                (transcript::LONGEST - 10..=transcript::LONGEST).contains(&weight),
                "{weight}"
            );
            assert_eq!(report.speakers.unwrap(), ["Ada", "Ben"]);
            assert_eq!(report.skipped.count(), 1);
        }
    }

    #[test]
    fn address_is_no_transcript() {
        let url = "https://artifacts.example.com/1.json?signature=x";
        let report = read(json!({"event": "bot.completed", "data": {"bot_id": "b", "transcription": url}}));
        assert_eq!(report.transcript_url.unwrap().as_str(), url);
        assert_eq!(report.transcript, None);
        let report = recording(json!({"transcript": format!(" {url}\n")}));
        assert_eq!(
            (report.transcript_url.unwrap().as_str(), report.transcript),
            (url, None)
        );
        let text = format!("{url} is the link.\nAda: Hi!");
        let report = recording(json!({"transcript": text}));
        assert_eq!(report.transcript, Some(text));
        assert!(report.transcript_url.is_none());
    }

    #[test]
    fn event_names_a_bot() {
        let refused = |body: Value| {
            let Value::Object(body) = body else { panic!("{body}") };
            match Report::of(body, 0) {
                Err(Error::Invalid(errors)) => errors[0].field.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(json!({"data": {}})), "event");
        assert_eq!(refused(json!({"event": 5})), "event");
        assert_eq!(refused(json!({"event": "complete", "data": ["bot-1"]})), "data");
        for bot in [json!(null), json!(7), json!(""), json!(["b"]), json!("x".repeat(201))] {
            assert_eq!(
                refused(json!({"event": "failed", "data": {"bot_id": bot}})),
                "data.bot_id"
            );
        }
        assert_eq!(refused(json!({"event": "complete"})), "data.bot_id");
        assert_eq!(read(json!({"event": "failed", "bot_id": "b"})).bot_id.as_str(), "b");
        for other in ["transcription_complete", "calendar.sync_events", "bot.tomorrow"] {
            let Value::Object(body) = json!({"event": other}) else {
                panic!()
            };
            assert!(Report::of(body, 0).unwrap().is_none());
        }
    }

    #[test]
    fn meeting_may_be_named() {
        let id = "01900000-0000-7000-8000-000000000101";
        let of = |extra: Value| recording(json!({"extra": extra})).meeting_id.map(Id::uuid);
        assert_eq!(of(json!({"meetingId": id})), id.parse().ok());
        for other in [
            json!(null),
            json!({"meetingId": 5}),
            json!({"source": "x"}),
            json!("x"),
            json!([]),
        ] {
            assert_eq!(of(other), None);
        }
    }

    #[test]
    fn event_of_calendar_is_read() {
        for (name, value, expected, skipped) in [
            ("event_uuid", json!("e-1"), Some("e-1"), 0),
            ("event_id", json!("e-1"), Some("e-1"), 0),
            ("event_id", json!(null), None, 0),
            ("event_uuid", json!(5), None, 1),
            ("event_uuid", json!(""), None, 0),
        ] {
            let report = recording(json!({name: value}));
            assert_eq!(report.event_id.as_ref().map(|id| id.as_str()), expected);
            assert_eq!(report.skipped.count(), skipped);
        }
        let report = recording(json!({"event_uuid": "", "event_id": "e-1"}));
        assert_eq!(report.event_id.unwrap().as_str(), "e-1");
    }

    #[test]
    fn codes_of_both_versions_are_mapped() {
        assert_eq!(effect("joining_call"), None);
        assert_eq!(effect("queued"), None);
        assert_eq!(effect("in_call_recording").unwrap().0, Some(Status::InProgress));
        assert_eq!(effect("transcribing").unwrap().1, Some(ProcessingStatus::Processing));
        assert_eq!(effect("completed").unwrap().1, Some(ProcessingStatus::Completed));
        for code in ["meeting_error", "failed"] {
            assert_eq!(effect(code).unwrap(), (None, Some(ProcessingStatus::Failed)));
        }
    }

    #[test]
    fn unreadable_time_is_that_of_receipt() {
        for status in [
            json!({"code": "call_ended", "created_at": "yesterday"}),
            json!({"code": "call_ended"}),
            json!("call_ended"),
        ] {
            let report = read(json!({"event": "bot.status_change", "data": {"bot_id": "b", "status": status}}));
            assert_eq!(report.at, Some(report.received_at));
        }
    }
}
