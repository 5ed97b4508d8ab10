//! The fields of a task that clients write; each field's type enforces its rule.
//!
//! Invariants: knows nothing of the database except its column names, with which drafts and changes are serialized.

use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use crate::partial::{self, given};
use shared::text::{Id, Text};

/// The status of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TaskStatus))]
#[serde(rename_all = "snake_case", remote = "Self")]
pub enum Status {
    /// To be done.
    #[default]
    Incomplete,
    /// Done.
    Complete,
    /// Suggested; to be approved or deleted.
    Suggested,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Incomplete, Self::Complete, Self::Suggested];

    /// Returns the stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Complete => "complete",
            Self::Suggested => "suggested",
        }
    }
}

/// The suggested assignee's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", remote = "Self")]
pub enum Assignee {
    /// The leader of the team.
    Manager,
    /// The participant of the meeting.
    TeamMember,
}

shared::names!(Status, Assignee);

type LongText = Text<5000>;

/// The assignee of a task: null, or the empty text, which a choice in a form sends, for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Assigned(Option<Id>);

#[cfg(feature = "openapi")]
shared::schema!(Assigned, |schema| {
    let text_or_null = [Type::String, Type::Null]
        .into_iter()
        .collect::<utoipa::openapi::schema::SchemaType>();
    let pattern = "^([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?$";
    schema.schema_type(text_or_null).pattern(Some(pattern))
});

impl<'de> Deserialize<'de> for Assigned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
        let id = text.map(|text| Id::parse(&text).ok_or_else(|| de::Error::custom(Id::RULE)));
        id.transpose().map(Self)
    }
}

/// A new task, with its id: created once, so that the create can be retried. Deserialized from a request's field names,
/// serialized with the table's column names.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TaskDraft, rename_all = "camelCase"))]
#[serde(rename_all(deserialize = "camelCase"), deny_unknown_fields)]
pub struct Draft {
    /// The task's id: UUIDv7, never a client's.
    #[serde(skip_deserializing, default = "Uuid::now_v7")]
    pub id: Uuid,
    text: LongText,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    assigned_to: Assigned,
    reasoning: Option<LongText>,
    related_area_for_support: Option<LongText>,
    suggested_assignee: Option<Assignee>,
}

/// The fields of a task that a client changes: at least one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Changes(Fields);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"), deny_unknown_fields, default)]
struct Fields {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    text: Option<LongText>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    assigned_to: Option<Assigned>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    reasoning: Option<Option<LongText>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    related_area_for_support: Option<Option<LongText>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    suggested_assignee: Option<Option<Assignee>>,
}

impl Changes {
    /// Returns whether only the status changes.
    pub(super) fn only_status(&self) -> bool {
        self.0
            == Fields {
                status: self.0.status,
                ..Fields::default()
            }
    }
}

impl TryFrom<Fields> for Changes {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        if fields == Fields::default() {
            return Err(partial::NOTHING);
        }
        Ok(Self(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(body: Value) -> Result<Changes, String> {
        serde_json::from_value(body).map_err(|error| error.to_string())
    }

    #[test]
    fn only_given_fields_reach_the_row() {
        for nobody in [Value::Null, json!("")] {
            let changes = read(json!({"status": "complete", "assignedTo": nobody})).unwrap();
            assert_eq!(
                serde_json::to_value(&changes).unwrap(),
                json!({"status": "complete", "assigned_to": null})
            );
        }
    }

    #[test]
    fn only_status_detects_other_fields() {
        assert!(read(json!({"status": "complete"})).unwrap().only_status());
        assert!(
            !read(json!({"status": "complete", "assignedTo": null}))
                .unwrap()
                .only_status()
        );
        assert!(!read(json!({"text": "x"})).unwrap().only_status());
    }

    #[test]
    fn required_fields_refuse_null() {
        assert!(read(json!({"text": null})).is_err());
        assert!(read(json!({"status": null})).is_err());
        assert!(read(json!({"status": {"complete": null}})).is_err());
        assert!(read(json!({"suggestedAssignee": {"manager": null}})).is_err());
        assert!(read(json!({})).unwrap_err().contains("at least one"));
        assert!(
            read(json!({"completedAt": "2026-01-01T00:00:00Z"}))
                .unwrap_err()
                .contains("unknown field")
        );
    }

    #[test]
    fn draft_has_columns_and_defaults() {
        let draft: Draft = serde_json::from_value(json!({"text": "x", "suggestedAssignee": "team_member"})).unwrap();
        let row = serde_json::to_value(&draft).unwrap();
        assert_eq!(row["status"], "incomplete");
        assert_eq!(row["suggested_assignee"], "team_member");
        assert!(serde_json::from_value::<Draft>(json!({"id": draft.id, "text": "x"})).is_err());
    }

    #[test]
    fn status_is_stored_as_sent() {
        for status in [Status::Incomplete, Status::Complete, Status::Suggested] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
