//! The table of docs/PERFORMANCE.md, "Lists at a million meetings".
//!
//! ```sh
//! LISTS_AT_A_MILLION=1 cargo test -p functions --test lists million -- --nocapture
//! ```

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection};

use super::data::{CALLERS, Database};
use super::meetings::{Case, PAGE, cursors, list_statement};
use super::plan::{MODES, explain, prepare};

/// The shortest of this many executions is the time of a page.
const RUNS: usize = 7;

/// Prints, for each caller and kind of filter, how many database pages the most expensive list page reads; fails if any
/// reads more than three times a first page without a filter. Time is printed and not tested, because it depends on the
/// machine.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "asks whether to measure, not how")]
async fn million_meetings_any_filter() {
    if std::env::var_os("LISTS_AT_A_MILLION").is_none() {
        return eprintln!("skipped: it takes a quarter of an hour; LISTS_AT_A_MILLION=1 runs it");
    }
    let mut database = Database::of(1_000_000).await;
    let session = &mut database.direct;
    let mode = MODES[0];
    prepare(session, &list_statement()).await;
    explain(session, mode, &PAGE.execute(None)).await;
    let page = explain(session, mode, &PAGE.execute(None)).await;
    let base = time(session, &PAGE.execute(None)).await;
    println!("a page of the largest team without a filter: {page:?}, {base:?}\n");
    println!("| caller | {} | slowest, ms |", KINDS.map(Kind::name).join(" | "));
    println!("|---|{}", "--:|".repeat(KINDS.len() + 1));
    for sub in CALLERS {
        let mut slowest = Duration::ZERO;
        let mut most = Vec::new();
        for kind in KINDS {
            let mut pages: f64 = 0.0;
            for case in Case::all()
                .iter()
                .filter(|case| case.sub == sub && kind == Kind::of(case))
            {
                let expected = case.expected(session).await;
                for (_, cursor) in cursors(&expected) {
                    let cost = explain(session, mode, &case.execute(cursor)).await;
                    assert!(cost.fits(&page), "{case:?}: {cost:?}, a page {page:?}");
                    pages = pages.max(cost.pages);
                    slowest = slowest.max(time(session, &case.execute(cursor)).await);
                }
            }
            most.push(pages.to_string());
        }
        println!("| {sub} | {} | {:.2} |", most.join(" | "), slowest.as_secs_f64() * 1e3);
    }
}

async fn time(session: &mut PgConnection, execute: &str) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..RUNS {
        let began = Instant::now();
        let sql = AssertSqlSafe(format!("EXECUTE {execute}"));
        sqlx::raw_sql(sql).fetch_all(&mut *session).await.unwrap();
        shortest = shortest.min(began.elapsed());
    }
    shortest
}

/// The fields of a filter; dates with or without the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Status,
    Member,
    StatusAndMember,
    Dates,
}

const KINDS: [Kind; 5] = [
    Kind::Nothing,
    Kind::Status,
    Kind::Member,
    Kind::StatusAndMember,
    Kind::Dates,
];

impl Kind {
    fn of(case: &Case) -> Self {
        match (case.range, case.status, case.member) {
            (Some(_), _, _) => Self::Dates,
            (None, None, None) => Self::Nothing,
            (None, Some(_), None) => Self::Status,
            (None, None, Some(_)) => Self::Member,
            (None, Some(_), Some(_)) => Self::StatusAndMember,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no filter",
            Self::Status => "status",
            Self::Member => "member",
            Self::StatusAndMember => "status and member",
            Self::Dates => "dates, with any other",
        }
    }
}
