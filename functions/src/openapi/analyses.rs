//! The operations of [`analyses`](crate::analyses).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::analyses::{Analysis, Summary};
use shared::http::Error;

const USER: &str = "The member";
/// Seed data: the member, and an analysis of their meetings.
const MEMBER: &str = "01900000-0000-7000-8000-000000000002";
const ANALYSIS: &str = "01900000-0000-7000-8000-000000000601";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (analysis, analyses) = (schemas.answer::<Analysis>(), schemas.list::<Analysis>());
    let summary = schemas.answer::<Summary>();
    let described = |operation: Operation| {
        operation
            .registered()
            .id("userId", USER, MEMBER)
            .reads()
            .refuses(Error::not_found("user"))
            .refuses(Error::forbidden(
                "Only the member and the admin of their team may read analyses.",
            ))
    };
    vec![
        described(operation!("analyses-list"))
            .paged()
            .answers_page(analyses, example()),
        described(operation!("analyses-get"))
            .id("analysisId", "The analysis", ANALYSIS)
            .refuses(Error::not_found("analysis"))
            .answers(200, "The analysis", &[], analysis, example()),
        described(operation!("analyses-current"))
            .query::<bool>(
                "forceRefresh",
                "Whether the meetings are to be read even if an analysis is up to date.",
            )
            .answers(
                200,
                "The newest analysis, or the meetings",
                &[],
                summary,
                json!({
                    "wins": ["The migration had no downtime"],
                    "areasForSupport": ["Time to write documentation"],
                    "tasks": ["Bring the migration runbook up to date"],
                    "actionItems": ["Bring the migration runbook up to date"],
                    "cached": false,
                    "lastAnalyzedAt": "2026-03-02T10:05:12.654321Z",
                    "source": "meetings",
                }),
            ),
    ]
}

fn example() -> Value {
    json!({
        "id": ANALYSIS,
        "userId": MEMBER,
        "wins": ["The migration had no downtime"],
        "areasForSupport": ["Time to write documentation"],
        "tasks": ["Bring the migration runbook up to date"],
        "analyzedAt": "2026-03-02T10:05:12.654321Z",
    })
}
