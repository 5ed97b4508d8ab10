//! Analyses: the wins, areas for support and tasks in a member's meetings.
//!
//! The member and the admin of their team may read them. A colleague is refused; for all others the member is absent.
//! Invariants: reading writes nothing, and uses only meetings and analyses of the team that the member is on
//! now.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use sqlx::types::Json;
use uuid::Uuid;

use crate::ids::{AnalysisId, UserId};
use crate::permission::permit;
use shared::db::Session;
use shared::http::page::{Cursor, Page, PageQuery};
use shared::http::{Abort, Caller, Error};
use shared::stored::Timestamp;

/// A stored analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Analysis {
    /// The id.
    pub id: Uuid,
    /// The member.
    pub user_id: Uuid,
    /// What went well.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub wins: Vec<String>,
    /// What the member needs support with.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub areas_for_support: Vec<String>,
    /// What is to be done.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub tasks: Vec<String>,
    /// The time of the analysis.
    #[serde(with = "shared::stored::time")]
    pub analyzed_at: DateTime<Utc>,
}

/// The source of an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = SummarySource))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The newest analysis.
    Analysis,
    /// The completed meetings themselves.
    Meetings,
    /// Nothing: no meeting of the member is completed.
    None,
}

/// The current analysis of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AnalysisSummary, rename_all = "camelCase"))]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Summary {
    /// What went well.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub wins: Vec<String>,
    /// What the member needs support with.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub areas_for_support: Vec<String>,
    /// What is to be done.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub tasks: Vec<String>,
    /// The same as `tasks`.
    #[serde(deserialize_with = "shared::stored::lines")]
    pub action_items: Vec<String>,
    /// Whether it is the newest analysis.
    pub cached: bool,
    /// The time of the analysis, or of this answer if there is none that is up to date.
    #[serde(with = "shared::stored::time")]
    pub last_analyzed_at: DateTime<Utc>,
    /// Where it is from.
    pub source: Source,
}

/// The parameters of [`current`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    #[serde(default, deserialize_with = "flag")]
    force_refresh: bool,
}

/// For a parameter, which is text.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom("must be true or false"))
}

const REFUSAL: &str = "Only the member and the admin of their team may read analyses.";

/// Returns a member's analyses, newest first.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 for a colleague.
pub async fn list(db: &mut Session, caller: &Caller, user: UserId, query: &PageQuery) -> Result<Page<Analysis>, Abort> {
    let before = query.cursor.unwrap_or(Cursor::NEWEST);
    // Rows are read in a subquery, after the permission was checked: joined as a whole, they would be decompressed before.
    let rows = sqlx::query!(
        r#"
        SELECT reads(c, u) AS "reads?", to_jsonb(a) AS "analysis: Json<Analysis>"
        FROM users c
        LEFT JOIN users u ON u.id = $2
        LEFT JOIN LATERAL (
            SELECT * FROM analyses
            WHERE user_id = u.id AND team_id = team_of(u) AND reads(c, u) AND (analyzed_at, id) < ($3, $4)
            ORDER BY analyzed_at DESC, id DESC
            LIMIT $5
        ) a ON true
        WHERE c.clerk_id = $1
        ORDER BY a.analyzed_at DESC, a.id DESC
        "#,
        caller.sub,
        user.0,
        Timestamp(before.at) as _,
        before.id,
        query.limit.rows_and_one(),
    )
    .fetch_all(db)
    .await?;
    let first = rows.first().ok_or_else(Error::unknown_caller)?;
    permit(first.reads, "user", REFUSAL)?;
    let items = rows
        .into_iter()
        .filter_map(|row| row.analysis)
        .map(|analysis| analysis.0)
        .collect();
    Ok(Page::of(items, query.limit, |last: &Analysis| Cursor {
        at: last.analyzed_at,
        id: last.id,
    }))
}

/// Returns one analysis of a member.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 for a colleague.
pub async fn get(db: &mut Session, caller: &Caller, user: UserId, id: AnalysisId) -> Result<Analysis, Abort> {
    let row = sqlx::query!(
        r#"
        SELECT reads(c, u) AS "reads?", (
            SELECT to_jsonb(a) FROM analyses a
            WHERE a.id = $3 AND a.user_id = u.id AND a.team_id = team_of(u) AND reads(c, u)
        ) AS "analysis: Json<Analysis>"
        FROM users c
        LEFT JOIN users u ON u.id = $2
        WHERE c.clerk_id = $1
        "#,
        caller.sub,
        user.0,
        id.0,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    permit(row.reads, "user", REFUSAL)?;
    Ok(row.analysis.ok_or_else(|| Error::not_found("analysis"))?.0)
}

/// Returns the newest analysis of a member if no completed meeting has changed since, else, or if `wanted` says so, the
/// newest entries of their completed meetings: at most eight of each kind, of the newest hundred meetings.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 404, 403 for a colleague.
pub async fn current(db: &mut Session, caller: &Caller, user: UserId, wanted: &Wanted) -> Result<Summary, Abort> {
    let row = sqlx::query!(
        r#"
        WITH person AS (
            SELECT u.id, team_of(u) AS team, reads(c, u) AS reads
            FROM users c
            LEFT JOIN users u ON u.id = $2
            WHERE c.clerk_id = $1
        ), analysis AS (
            SELECT a.* FROM person p JOIN analyses a ON a.user_id = p.id AND a.team_id = p.team AND p.reads
            WHERE NOT $3 AND NOT EXISTS (
                SELECT FROM meetings m
                WHERE m.team_member_id = p.id AND m.team_id = p.team AND m.status = 'completed'
                    AND m.updated_at >= a.analyzed_at
            )
            ORDER BY a.analyzed_at DESC, a.id DESC
            LIMIT 1
        ), meeting AS (
            SELECT m.id, m.wins, m.areas_for_support, row_number() OVER (ORDER BY m.date DESC, m.id DESC) AS place
            FROM person p
            JOIN meetings m ON m.team_member_id = p.id AND m.team_id = p.team AND m.status = 'completed'
            WHERE p.reads AND NOT EXISTS (SELECT FROM analysis)
            ORDER BY m.date DESC, m.id DESC
            LIMIT 100
        )
        SELECT
            p.reads AS "reads?",
            CASE WHEN p.reads THEN coalesce(
                (
                    SELECT to_jsonb(a) || jsonb_build_object(
                        'action_items', a.tasks, 'cached', true, 'last_analyzed_at', a.analyzed_at, 'source', 'analysis'
                    )
                    FROM analysis a
                ),
                jsonb_build_object(
                    'wins', ARRAY(
                        SELECT w.text FROM meeting m, unnest(m.wins) WITH ORDINALITY w (text, place)
                        GROUP BY w.text ORDER BY min(m.place), min(w.place), w.text LIMIT 8
                    ),
                    'areas_for_support', ARRAY(
                        SELECT s.text FROM meeting m, unnest(m.areas_for_support) WITH ORDINALITY s (text, place)
                        GROUP BY s.text ORDER BY min(m.place), min(s.place), s.text LIMIT 8
                    ),
                    'tasks', open.tasks, 'action_items', open.tasks, 'cached', false, 'last_analyzed_at', now(),
                    'source', CASE WHEN EXISTS (SELECT FROM meeting) THEN 'meetings' ELSE 'none' END
                )
            ) END AS "summary: Json<Summary>"
        FROM person p, LATERAL (
            SELECT ARRAY(
                SELECT t.text FROM meeting m JOIN tasks t ON t.meeting_id = m.id AND t.status = 'incomplete'
                GROUP BY t.text ORDER BY min(m.place), min(t.created_at), t.text LIMIT 8
            ) AS tasks
        ) open
        "#,
        caller.sub,
        user.0,
        wanted.force_refresh,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(Error::unknown_caller)?;
    permit(row.reads, "user", REFUSAL)?;
    Ok(row.summary.ok_or(sqlx::Error::RowNotFound)?.0)
}
