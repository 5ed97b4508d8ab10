//! The agenda of a meeting, in phases: its own, or a proposed one.
//!
//! Uses the first of these that exists: the phases that an import stored, the lines of `agenda`, a proposal from the
//! newest completed meeting with the same team member, a fixed structure. A proposal is not stored, because a read never
//! writes. Invariants: succeeds for every meeting that the caller may see.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;

use crate::ids::MeetingId;
use shared::db::Session;
use shared::http::{Abort, Caller, Error};
use shared::stored;

/// The maximum number of items that each phase of a proposal takes from the meeting before.
const PROPOSED: usize = 10;

/// An agenda.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agenda {
    /// The phases, in their order.
    pub phases: Vec<Phase>,
    /// The source of a proposed agenda; null for the meeting's own.
    #[serde(default)]
    pub note: Option<String>,
}

/// A phase of a meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AgendaPhase))]
pub struct Phase {
    /// The name.
    pub name: String,
    /// The topics.
    pub items: Vec<String>,
}

/// The newest completed meeting with the same team member, as far as a proposal uses it.
#[derive(Debug, Deserialize)]
struct Earlier {
    #[serde(deserialize_with = "stored::time::deserialize")]
    date: DateTime<Utc>,
    #[serde(deserialize_with = "stored::lines")]
    wins: Vec<String>,
    #[serde(deserialize_with = "stored::lines")]
    areas_for_support: Vec<String>,
    /// The texts of its tasks that are to be done.
    tasks: Vec<String>,
}

/// Returns a meeting's agenda.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404.
pub async fn get(db: &mut Session, caller: &Caller, id: MeetingId) -> Result<Agenda, Abort> {
    // The earlier meeting is the first entry of an index, and is used only if the caller sees it too.
    let row = sqlx::query!(
        r#"
        SELECT
            seen.id AS "id?", seen.agenda AS "agenda?", seen.agenda_phases AS "phases?: Json<Value>", (
                SELECT jsonb_build_object(
                    'date', e.date, 'wins', e.wins, 'areas_for_support', e.areas_for_support, 'tasks', ARRAY(
                        SELECT text FROM tasks WHERE meeting_id = e.id AND status = 'incomplete'
                        ORDER BY created_at, id LIMIT $3
                    )
                )
                FROM (
                    SELECT m.id FROM meetings m
                    WHERE m.team_member_id = seen.team_member_id AND m.team_id = seen.team_id
                        AND m.status = 'completed' AND (m.date, m.id) < (seen.date, seen.id)
                    ORDER BY m.date DESC, m.id DESC LIMIT 1
                ) newest
                JOIN meetings e ON e.id = newest.id AND sees(u, e)
            ) AS "earlier: Json<Earlier>"
        FROM users u
        LEFT JOIN meetings seen ON seen.id = $2 AND sees(u, seen)
        WHERE u.clerk_id = $1
        "#,
        caller.sub,
        id.0,
        PROPOSED as i64,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    row.id.ok_or_else(|| Error::not_found("meeting"))?;
    let stored = row.phases.and_then(|phases| serde_json::from_value(phases.0).ok());
    let own = stored.or_else(|| row.agenda.as_deref().and_then(Agenda::of_text));
    let proposed = || row.earlier.and_then(|earlier| Agenda::after(&earlier.0));
    Ok(own.or_else(proposed).unwrap_or_else(Agenda::usual))
}

impl Agenda {
    /// Returns one phase with the lines of a text; `None` if all are empty.
    fn of_text(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let phase = Phase::of("Agenda", lines)?;
        Some(Self {
            phases: vec![phase],
            note: None,
        })
    }

    /// Returns an agenda that takes up an earlier meeting; `None` if it left nothing.
    fn after(earlier: &Earlier) -> Option<Self> {
        let phases = [
            ("What went well", &earlier.wins),
            ("Open tasks", &earlier.tasks),
            ("Where support is needed", &earlier.areas_for_support),
        ];
        let phases = phases.map(|(name, items)| Phase::of(name, items.iter().map(String::as_str).take(PROPOSED)));
        let mut phases: Vec<_> = phases.into_iter().flatten().collect();
        if phases.is_empty() {
            return None;
        }
        phases.extend(Phase::of("Until next time", ["Who does what, and by when"]));
        let day = stored::clamped(earlier.date).format("%Y-%m-%d");
        Some(Self {
            phases,
            note: Some(format!(
                "Proposed from the meeting of {day}: this one has no agenda of its own."
            )),
        })
    }

    /// Returns the agenda of a first meeting.
    fn usual() -> Self {
        let phases = [
            Phase::of("Arriving", ["How are things?", "What should we not forget today?"]),
            Phase::of(
                "Since last time",
                [
                    "What went well",
                    "What was harder than expected",
                    "Where help is needed",
                ],
            ),
            Phase::of(
                "Until next time",
                ["What matters most now", "Who does what, and by when"],
            ),
        ];
        Self {
            phases: phases.into_iter().flatten().collect(),
            note: Some("A usual structure: neither this meeting nor an earlier one says more.".to_owned()),
        }
    }
}

impl Phase {
    /// Returns a phase; `None` without items.
    fn of<'a>(name: &str, items: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let items: Vec<_> = items.into_iter().map(str::to_owned).collect();
        (!items.is_empty()).then(|| Self {
            name: name.to_owned(),
            items,
        })
    }
}
