//! The cost of a statement, as EXPLAIN reports it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

/// The cost of one execution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Pages of tables and indexes.
    pub(crate) pages: f64,
    /// Rows that scans of tables and their indexes returned or removed, without those of `users`.
    pub(crate) rows: f64,
}

impl Cost {
    /// Returns whether this is at most three times `page`, a first page without a filter, plus the cost of the
    /// preceding look-ups.
    pub(crate) fn fits(&self, page: &Self) -> bool {
        self.pages <= 3.0 * page.pages + 50.0 && self.rows <= 3.0 * page.rows + 20.0
    }
}

/// Returns the statements of `functions/.sqlx`.
pub(crate) fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .map(|text| {
            serde_json::from_str::<Value>(&text).unwrap()["query"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// Returns the only statement of `functions/.sqlx` that contains all of `parts`: the text that the functions send.
pub(crate) fn statement(parts: &[&str]) -> String {
    let mut found = statements();
    found.retain(|query| parts.iter().all(|part| query.contains(part)));
    assert_eq!(found.len(), 1, "{parts:?}: {found:#?}");
    found.remove(0)
}

/// How statements are planned: once for all parameters, as in the functions' sessions; at each execution, as behind a
/// transaction pooler.
pub(crate) const MODES: [&str; 2] = ["force_generic_plan", "force_custom_plan"];

/// Prepares the statement that [`explain`] executes as `list`.
pub(crate) async fn prepare(session: &mut PgConnection, statement: &str) {
    let sql = AssertSqlSafe(format!("PREPARE list AS {statement}"));
    sqlx::raw_sql(sql).execute(session).await.unwrap();
}

/// Executes the prepared statement, as in `list('sub', 51)`, in one of the [`MODES`].
pub(crate) async fn explain(session: &mut PgConnection, mode: &str, execute: &str) -> Cost {
    let set = AssertSqlSafe(format!("SET plan_cache_mode = {mode}"));
    sqlx::raw_sql(set).execute(&mut *session).await.unwrap();
    let sql = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE {execute}");
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session).await.unwrap();
    let plan = &row.get::<Value, _>(0)[0]["Plan"];
    let count = |name: &str| plan[name].as_f64().unwrap();
    Cost {
        pages: count("Shared Hit Blocks") + count("Shared Read Blocks"),
        rows: rows(plan),
    }
}

fn rows(node: &Value) -> f64 {
    let count = |name: &str| node[name].as_f64().unwrap_or_default();
    let own = match node["Relation Name"].as_str() {
        // The caller's row; a small table is read completely for it.
        None | Some("users") => 0.0,
        Some(_) => {
            let removed = count("Rows Removed by Filter") + count("Rows Removed by Index Recheck");
            (count("Actual Rows") + removed) * count("Actual Loops")
        }
    };
    let below = node["Plans"].as_array().into_iter().flatten().map(rows);
    own + below.sum::<f64>()
}
