//! The fields of a meeting that clients write; each field's type enforces its rule.
//!
//! Invariants: knows nothing of the database except its column names, with which a draft is serialized.

use std::fmt;

use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use shared::text::{HttpUrl, Id, Text, Trimmed};

/// The status of a meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MeetingStatus))]
#[serde(rename_all = "snake_case", remote = "Self")]
pub enum Status {
    /// It has not started.
    #[default]
    Scheduled,
    /// It is taking place.
    InProgress,
    /// It has ended.
    Completed,
    /// It will not take place.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::InProgress, Self::Completed, Self::Cancelled];

    /// Returns the stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The type of a meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", remote = "Self")]
pub enum MeetingType {
    /// No specific type.
    Default,
    /// A manager and one team member.
    #[default]
    OneOnOne,
    /// The whole team.
    TeamMeeting,
    /// A presentation to a client.
    ClientPresentation,
    /// A sales call.
    SalesCall,
}

/// The platform of a meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", remote = "Self")]
pub enum Platform {
    /// Google Meet.
    #[default]
    GoogleMeet,
    /// Zoom.
    Zoom,
    /// Microsoft Teams.
    Teams,
}

/// The status of a meeting's recording. Only the recording service changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProcessingStatus {
    /// Nothing has been recorded yet.
    Pending,
    /// The call has ended, and the transcript is pending.
    Processing,
    /// The transcript and the recording are available.
    Completed,
    /// There will be no recording.
    Failed,
}

impl ProcessingStatus {
    /// Returns the stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

shared::names!(Status, MeetingType, Platform);

/// A meeting's time: RFC 3339 with an offset, in the years 1970 to 9999, in microseconds like PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Time(DateTime<Utc>);

#[cfg(feature = "openapi")]
shared::schema!(Time, |schema| {
    let text = schema.schema_type(Type::String);
    text.format(Some(SchemaFormat::Custom("date-time".to_owned())))
        .pattern(Some("^(19[7-9]|[2-9][0-9])"))
});

impl Time {
    /// Returns the instant.
    pub fn at(self) -> DateTime<Utc> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .ok()
            // Truncated instead of rounded, with a leap second carried over: neither may reach the year 10000.
            .and_then(|date| DateTime::from_timestamp_micros(date.timestamp_micros()))
            .filter(|date| (1970..=9999).contains(&date.year()))
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(
                    "must be a time with its offset such as 2026-03-02T09:30:00Z (RFC 3339), in the years 1970 to 9999",
                )
            })
    }
}

/// A planned duration in minutes, 1 to 1,440.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Minutes(i32);

#[cfg(feature = "openapi")]
shared::schema!(Minutes, |schema| {
    let whole = schema.schema_type(Type::Integer);
    whole.minimum(Some(1)).maximum(Some(1440))
});

impl<'de> Deserialize<'de> for Minutes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(Whole)
    }
}

/// Deserializes [`Minutes`].
struct Whole;

impl Whole {
    const RULE: &str = "a whole number of minutes from 1 to 1440";
}

impl de::Visitor<'_> for Whole {
    type Value = Minutes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::RULE)
    }

    /// 30.0 is a whole number too: JSON does not distinguish it from 30.
    fn visit_f64<E: de::Error>(self, minutes: f64) -> Result<Minutes, E> {
        if minutes.fract() != 0.0 || !(1.0..=1440.0).contains(&minutes) {
            return Err(E::custom(format_args!("must be {}", Self::RULE)));
        }
        Ok(Minutes(minutes as i32))
    }

    fn visit_u64<E: de::Error>(self, minutes: u64) -> Result<Minutes, E> {
        self.visit_f64(minutes as f64)
    }

    fn visit_i64<E: de::Error>(self, minutes: i64) -> Result<Minutes, E> {
        self.visit_f64(minutes as f64)
    }
}

/// A list of at most 100 texts of at most 2,000 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Lines(Vec<Text<2000>>);

#[cfg(feature = "openapi")]
shared::schema!(Lines, |schema| {
    let lines = schema.to_array_builder().items(Text::<2000>::schema());
    lines.max_items(Some(100))
});

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines = Vec::deserialize(deserializer)?;
        if lines.len() > 100 {
            return Err(de::Error::custom(format_args!(
                "must have at most 100 items, not {}",
                lines.len()
            )));
        }
        Ok(Self(lines))
    }
}

pub(super) type Title = Text<200>;
pub(super) type BotId = Trimmed<200>;
pub(super) type EventId = Trimmed<200>;
pub(super) type LongText = Text<20_000>;
pub(super) type Transcript = Text<1_000_000>;

/// A new meeting, with its id: created once, so that the create can be retried. Deserialized from a request's field
/// names, serialized with the table's column names.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MeetingDraft, rename_all = "camelCase"))]
#[serde(rename_all(deserialize = "camelCase"), deny_unknown_fields)]
pub struct Draft {
    /// The meeting's id: UUIDv7, never a client's.
    #[serde(skip_deserializing, default = "Uuid::now_v7")]
    pub id: Uuid,
    title: Title,
    team_member_id: Id,
    date: Time,
    duration: Minutes,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    meeting_type: MeetingType,
    #[serde(default = "default_platform")]
    platform: Option<Platform>,
    platform_meeting_url: Option<HttpUrl>,
    meeting_baas_id: Option<BotId>,
    calendar_event_id: Option<EventId>,
    recording_url: Option<HttpUrl>,
    transcript: Option<Transcript>,
    #[serde(default)]
    speakers: Lines,
    executive_summary: Option<LongText>,
    #[serde(default)]
    wins: Lines,
    #[serde(default)]
    areas_for_support: Lines,
    #[serde(default)]
    key_insights: Lines,
    agenda: Option<LongText>,
}

/// The platform of a meeting that is created without one; null says that there is none.
fn default_platform() -> Option<Platform> {
    Some(Platform::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn draft(field: &str, value: Value) -> Result<Draft, String> {
        let mut body = json!({
            "title": "Weekly",
            "teamMemberId": "01890c5e-0000-7000-8000-000000000002",
            "date": "2026-03-02T09:30:00+01:00",
            "duration": 30,
        });
        body[field] = value;
        serde_json::from_value(body).map_err(|error| error.to_string())
    }

    #[test]
    fn draft_has_columns_and_defaults() {
        let row = serde_json::to_value(draft("meetingBaasId", json!("bot-1")).unwrap()).unwrap();
        assert_eq!(row["meeting_baas_id"], "bot-1");
        assert_eq!(row["date"], "2026-03-02T08:30:00Z");
        assert_eq!(row["status"], "scheduled");
        assert_eq!(row["meeting_type"], "one_on_one");
        assert_eq!(row["wins"], json!([]));
        assert_eq!(row["platform"], "google_meet");
        let row = serde_json::to_value(draft("platform", Value::Null).unwrap()).unwrap();
        assert_eq!(row["platform"], Value::Null);
    }

    #[test]
    fn draft_refuses_server_fields() {
        for (field, value) in [
            ("id", json!("01890c5e-0000-7000-8000-000000000001")),
            ("processingStatus", json!("completed")),
            ("createdBy", json!("01890c5e-0000-7000-8000-000000000001")),
            ("version", json!(7)),
        ] {
            assert!(draft(field, value).unwrap_err().contains("unknown field"), "{field}");
        }
    }

    #[test]
    fn required_fields_refuse_null() {
        for field in [
            "title",
            "teamMemberId",
            "date",
            "duration",
            "status",
            "meetingType",
            "speakers",
            "wins",
        ] {
            assert!(draft(field, Value::Null).is_err(), "{field}");
        }
        for field in ["platform", "platformMeetingUrl", "agenda", "transcript"] {
            assert!(draft(field, Value::Null).is_ok(), "{field}");
        }
    }

    #[test]
    fn choice_is_only_text() {
        for field in ["status", "meetingType", "platform"] {
            for name in ["completed", "one_on_one", "zoom"] {
                assert!(draft(field, json!({name: null})).is_err(), "{field}");
            }
            assert!(
                draft(field, json!("never"))
                    .unwrap_err()
                    .contains("unknown variant `never`")
            );
        }
        assert!(draft("platform", json!("zoom")).is_ok());
    }

    #[test]
    fn dates_fit_postgresql_and_rfc_3339() {
        for bad in [
            "",
            "2026-03-02",
            "2026-03-02T09:30:00",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:60Z",
            "2026-02-30T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "now",
        ] {
            assert!(draft("date", json!(bad)).is_err(), "{bad}");
        }
        let last = draft("date", json!("9999-12-31T23:59:59.9999999Z")).unwrap();
        assert_eq!(serde_json::to_value(last.date).unwrap(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn duration_fits_one_day() {
        for bad in [
            json!(0),
            json!(1441),
            json!(-5),
            json!(30.5),
            json!(1e20),
            json!("30"),
            json!(u64::MAX),
        ] {
            let said = draft("duration", bad.clone()).unwrap_err();
            assert!(
                said.contains("a whole number of minutes from 1 to 1440"),
                "{bad}: {said}"
            );
        }
        for good in [json!(1), json!(1440), json!(30.0), json!(1.2e2)] {
            let minutes = draft("duration", good.clone()).unwrap().duration.0;
            assert_eq!(f64::from(minutes), good.as_f64().unwrap());
        }
    }

    #[test]
    fn lists_are_bounded() {
        assert!(draft("wins", json!(vec!["x"; 100])).is_ok());
        assert!(
            draft("wins", json!(vec!["x"; 101]))
                .unwrap_err()
                .contains("at most 100 items")
        );
        assert!(draft("wins", json!(["x\0"])).unwrap_err().contains("NUL"));
    }

    #[test]
    fn status_is_stored_as_sent() {
        for status in [
            Status::Scheduled,
            Status::InProgress,
            Status::Completed,
            Status::Cancelled,
        ] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
        use ProcessingStatus::{Completed, Failed, Pending, Processing};
        for status in [Pending, Processing, Completed, Failed] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
