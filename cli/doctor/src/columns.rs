//! Compares the tables' columns with those that the migrations create.
//!
//! Invariants: derives the expected columns from the migrations themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;
use shared::Service;

use super::cause::{literal, quoted};
use super::migrations::{Statement, statements};
use super::report::{Level, Report};
use super::session::Session;

#[derive(Deserialize)]
struct Column {
    relation: String,
    name: String,
}

/// A column's definition and the migration that adds it, by table and name.
type Expected = BTreeMap<(String, String), (i64, String)>;

/// Reports columns that migrations have created and that are not there. `applied` are the applied migrations, if this
/// role may see them.
pub(super) async fn examine(
    session: &mut Session,
    service: &Service,
    schema: &str,
    applied: Option<&BTreeSet<i64>>,
    report: &mut Report,
) {
    // The catalogue is open to every role, unlike information_schema.
    let there = session
        .rows::<Column>(&format!(
            "SELECT c.relname AS relation, a.attname AS name FROM pg_attribute a \
             JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped",
            literal(schema)
        ))
        .await;
    let there = match there {
        Ok(there) => there,
        Err(unavailable) => return report.schema.push(unavailable.fact("columns", "")),
    };
    let there: BTreeSet<(String, String)> = there.into_iter().map(|column| (column.relation, column.name)).collect();
    let due = |version: &i64| applied.is_none_or(|applied| applied.contains(version));
    let expected: Expected = expected(service)
        .into_iter()
        .filter(|(_, (version, _))| due(version))
        .collect();
    let missing: Vec<_> = expected.iter().filter(|(column, _)| !there.contains(column)).collect();
    for ((table, name), (version, definition)) in &missing {
        report.find(
            Level::Warn,
            "missing-column",
            format!("column {name} of table {table} is missing"),
            format!("Migration {version:04} made it, and somebody renamed or dropped it."),
            vec![format!(
                "ALTER TABLE {}.{table} ADD COLUMN {definition};   -- or rename it back, if it was renamed",
                quoted(schema)
            )],
        );
    }
    let names: Vec<String> = missing
        .iter()
        .map(|((table, name), _)| format!("{table}.{name}"))
        .collect();
    report.note_schema(
        "columns",
        format!("{} there, {} missing", expected.len() - names.len(), names.len()),
        json!({ "expected": expected.len(), "missing": names }),
    );
}

/// Returns every column that the migrations create and do not drop later.
fn expected(service: &Service) -> Expected {
    let mut expected = Expected::new();
    for Statement { version, text } in statements(service) {
        apply(&text, version, &mut expected);
    }
    expected
}

fn apply(line: &str, version: i64, expected: &mut Expected) {
    if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
        let rest = without(rest, &["IF NOT EXISTS "]);
        let Some((table, body)) = rest.split_once('(') else {
            return;
        };
        let body = body.rsplit_once(')').map_or(body, |(body, _)| body);
        for part in parts(body) {
            add(table.trim(), &part, version, expected);
        }
    } else if let Some(rest) = line.strip_prefix("ALTER TABLE ") {
        let rest = without(rest, &["IF EXISTS ", "ONLY "]);
        let Some((table, actions)) = rest.split_once(' ') else {
            return;
        };
        for action in parts(actions) {
            if let Some(rest) = action.strip_prefix("ADD ") {
                add(table, without(rest, &["COLUMN ", "IF NOT EXISTS "]), version, expected);
            } else if let Some(rest) = action.strip_prefix("DROP COLUMN ") {
                let rest = without(rest, &["IF EXISTS "]);
                let name = rest.split(' ').next().unwrap_or_default().to_owned();
                expected.remove(&(table.to_owned(), name));
            } else if let Some((from, to)) = action
                .strip_prefix("RENAME COLUMN ")
                .and_then(|rest| rest.split_once(" TO "))
                && let Some((version, definition)) = expected.remove(&(table.to_owned(), from.to_owned()))
            {
                let definition = definition.replacen(from, to, 1);
                expected.insert((table.to_owned(), to.to_owned()), (version, definition));
            }
        }
    } else if let Some(rest) = line.strip_prefix("DROP TABLE ") {
        let table = without(rest, &["IF EXISTS "]);
        expected.retain(|(of, _), _| *of != table);
    }
}

/// Returns the text without these words at its beginning.
fn without<'a>(text: &'a str, words: &[&str]) -> &'a str {
    words
        .iter()
        .fold(text, |rest, word| rest.strip_prefix(word).unwrap_or(rest))
}

/// Adds the column that a definition describes, unless it is a constraint.
fn add(table: &str, definition: &str, version: i64, expected: &mut Expected) {
    const CONSTRAINTS: [&str; 7] = ["CONSTRAINT", "CHECK", "PRIMARY", "UNIQUE", "FOREIGN", "EXCLUDE", "LIKE"];
    let name = definition.split([' ', '(']).next().unwrap_or_default();
    if !name.is_empty() && !CONSTRAINTS.contains(&name) {
        expected.insert((table.to_owned(), name.to_owned()), (version, definition.to_owned()));
    }
}

/// Splits at the commas that are in no parentheses and no literal.
fn parts(text: &str) -> Vec<String> {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut parts = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        match parts.last_mut() {
            Some(part) if letter != ',' || depth > 0 || quoted => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}
