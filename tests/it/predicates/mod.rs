//! The tests are the wall behind the statements (`docs/decisions/0012`), so each condition about access is removed in
//! turn: from the text that a function's own binary sends, on the way to the server. A request of the matrix must then
//! have another outcome than the expected one.
//!
//! `EVERY_PREDICATE=1` removes every one, in some minutes; without it a sample.

mod occurrences;
mod redundant;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use local::proxy::Proxy;
use serde_json::Value;

use super::backend::{Backend, until, workspace};
use super::matrix::Matrix;
use occurrences::{conditions, without};
use redundant::{REDUNDANT, listed};

/// Without a caller: a signature decides who sends them, and `recorder` and `clerk` have their tests.
const SIGNED: [&str; 3] = ["meetings-webhook", "meetings-webhook-alias", "clerk-webhook"];

/// One of how many conditions a run without `EVERY_PREDICATE` removes.
const SAMPLE: usize = 12;

/// The SQL functions about access, with their definitions.
const FUNCTIONS: &str = "SELECT proname::text, pg_get_functiondef(oid) FROM pg_proc \
    WHERE proname IN ('sees', 'leads', 'manages', 'reads', 'writes') AND pronamespace = 'public'::regnamespace \
    ORDER BY proname";

/// A condition of a statement, or of a function that statements call.
struct Occurrence<'a> {
    /// The function's name; `None` for a statement.
    function: Option<&'a str>,
    sql: &'a str,
    place: Range<usize>,
    /// The operations that run it.
    operations: Vec<&'a str>,
}

impl Occurrence<'_> {
    /// Removes the condition, and returns whether a request has another outcome than the expected one.
    async fn is_noticed(&self, backend: &Backend, proxy: &Proxy, matrix: &Matrix) -> bool {
        let changed = without(self.sql, &self.place);
        if self.function.is_some() {
            backend.execute(&changed).await;
        } else {
            let is_sql = async |text: &str| {
                backend
                    .try_execute(&format!("PREPARE changed AS {text}; DEALLOCATE changed"))
                    .await
            };
            assert!(is_sql(&changed).await || !is_sql(self.sql).await, "no SQL: {changed}");
            proxy.replace(self.sql, &changed);
            disconnect(proxy).await;
        }
        let mut noticed = false;
        for operation in &self.operations {
            noticed = noticed || matrix.check(backend, operation).await.is_err();
        }
        if self.function.is_some() {
            backend.execute(self.sql).await;
        }
        noticed
    }

    /// Formats it for the message of a failed test: with the text before it.
    fn told(&self) -> String {
        let before: String = self.sql[..self.place.start]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let begin = before.len().saturating_sub(60);
        let before = before.get(begin..).unwrap_or(&before);
        format!("{before} [{}] in {:?}", &self.sql[self.place.clone()], self.operations)
    }
}

/// Ends every connection: functions prepare their statements again.
async fn disconnect(proxy: &Proxy) {
    proxy.reset();
    until(async || proxy.counts().open == 0).await;
}

/// Returns the statements that the requests of the matrix run, each with the operations that run it. The requests have
/// the expected outcomes.
async fn statements(backend: &Backend, proxy: &Proxy, matrix: &Matrix) -> BTreeMap<String, Vec<&'static str>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for operation in matrix.operations() {
        disconnect(proxy).await;
        proxy.take_prepared();
        matrix.check(backend, operation).await.unwrap();
        for text in proxy.take_prepared() {
            if !SIGNED.contains(&operation) {
                found.entry(text).or_default().push(operation);
            }
        }
    }
    found
}

/// The statements in the data that the compiler checks them against.
fn written_statements() -> BTreeSet<String> {
    let files = std::fs::read_dir(workspace().join("functions/.sqlx")).unwrap();
    let query = |path: PathBuf| {
        let described: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        described["query"].as_str().unwrap().to_owned()
    };
    files.map(|file| query(file.unwrap().path())).collect()
}

#[tokio::test]
async fn each_missing_condition_is_noticed() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let matrix = Matrix::prepared(&backend).await;
    let statements = statements(&backend, &proxy, &matrix).await;
    let signed = ["deliver_recording(", "clerk_updated_at", "@deleted.invalid"];
    for sql in written_statements() {
        let run = statements.contains_key(&sql) || signed.iter().any(|word| sql.contains(word));
        assert!(
            run || conditions(&sql).is_empty(),
            "no request of the matrix runs {sql}"
        );
    }

    let functions = backend.pairs(FUNCTIONS).await;
    let mut every = Vec::new();
    for (name, definition) in &functions {
        let call = format!("{name}(");
        let callers = statements.iter().filter(|(sql, _)| sql.contains(&call));
        let operations: BTreeSet<&str> = callers.flat_map(|(_, operations)| operations.iter().copied()).collect();
        every.extend(conditions(definition).into_iter().map(|place| Occurrence {
            function: Some(name),
            sql: definition,
            place,
            operations: operations.iter().copied().collect(),
        }));
    }
    for (sql, operations) in &statements {
        every.extend(conditions(sql).into_iter().map(|place| Occurrence {
            function: None,
            sql,
            place,
            operations: operations.clone(),
        }));
    }
    let full = std::env::var_os("EVERY_PREDICATE").is_some();
    let step = if full { 1 } else { SAMPLE };
    let (mut noticed, mut redundant, mut unnoticed) = (0, BTreeSet::new(), Vec::new());
    for occurrence in every.iter().step_by(step) {
        let seen = occurrence.is_noticed(&backend, &proxy, &matrix).await;
        match (seen, listed(occurrence.sql, &occurrence.place)) {
            (true, _) => noticed += 1,
            (false, Some(entry)) => drop(redundant.insert(entry)),
            (false, None) => unnoticed.push(occurrence.told()),
        }
    }
    println!("of {} conditions {noticed} are noticed", every.len());
    assert!(unnoticed.is_empty(), "unnoticed:\n{}", unnoticed.join("\n"));
    let needless: Vec<_> = REDUNDANT.iter().filter(|entry| !redundant.contains(entry)).collect();
    assert!(
        !full || needless.is_empty(),
        "listed as redundant, and noticed: {needless:#?}"
    );
}
