//! Examines indexes: those that are missing, invalid or never used, and foreign keys without one.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use shared::Service;

use super::cause::quoted;
use super::migrations::{Statement, statements};
use super::report::{Level, Report};
use super::server::{bytes, span};
use super::session::Session;

/// Statistics younger than this do not prove that an index is unused.
const SETTLED_SECONDS: f64 = 7.0 * 86_400.0;

#[derive(Deserialize)]
struct Index {
    name: String,
    valid: bool,
    unique: bool,
    scans: i64,
    size: i64,
}

#[derive(Deserialize)]
struct Since {
    seconds: f64,
}

/// Examines the indexes of a schema: those that the migrations make, and others.
pub(super) async fn examine(
    session: &mut Session,
    schema: &str,
    service: &Service,
    applied: Option<&BTreeSet<i64>>,
    report: &mut Report,
) {
    let there = session
        .rows::<Index>(&format!(
            "SELECT c.relname AS name, i.indisvalid AS valid, i.indisunique AS unique, \
             pg_stat_get_numscans(c.oid)::int8 AS scans, pg_relation_size(c.oid)::int8 AS size FROM pg_index i \
             JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = '{}' AND c.relkind IN ('i', 'I') ORDER BY 1",
            schema.replace('\'', "''")
        ))
        .await;
    let there = match there {
        Ok(there) => there,
        Err(unavailable) => return report.schema.push(unavailable.fact("indexes", "")),
    };
    let schema = quoted(schema);
    let mut missing = Vec::new();
    for index in expected(service) {
        let due = applied.is_none_or(|applied| applied.contains(&index.version));
        if !due || there.iter().any(|there| there.name == index.name) {
            continue;
        }
        report.find(
            Level::Warn,
            "missing-index",
            format!("index {} is missing", index.name),
            "Somebody dropped it: the statements it was made for read whole tables.",
            vec![format!(
                "{};",
                index.statement.replacen("INDEX", "INDEX CONCURRENTLY", 1)
            )],
        );
        missing.push(index.name);
    }
    let invalid: Vec<&str> = there
        .iter()
        .filter(|index| !index.valid)
        .map(|index| index.name.as_str())
        .collect();
    for name in &invalid {
        report.find(
            Level::Warn,
            "invalid-index",
            format!("index {name} is invalid"),
            "Building it concurrently failed half-way: it is kept up to date and never used.",
            vec![format!(
                "REINDEX INDEX CONCURRENTLY {schema}.{};   -- or DROP INDEX, if it was a try",
                quoted(name)
            )],
        );
    }
    let since = session
        .one::<Since>(
            "SELECT extract(epoch FROM now() - coalesce(stats_reset, pg_postmaster_start_time()))::float8 AS seconds \
             FROM pg_stat_database WHERE datname = current_database()",
        )
        .await
        .map_or(0.0, |since| since.seconds);
    let unused: Vec<&Index> = there
        .iter()
        .filter(|index| index.valid && !index.unique && index.scans == 0)
        .collect();
    let mut text = format!(
        "{} there, {} missing, {} invalid; ",
        there.len(),
        missing.len(),
        invalid.len()
    );
    if since < SETTLED_SECONDS {
        text.push_str(&format!(
            "too early to say which are unused (statistics of {})",
            span(since)
        ));
    } else {
        text.push_str(&format!("{} never used in {}", unused.len(), span(since)));
        strangers(&unused, &schema, service, report);
    }
    let names: Vec<&str> = unused.iter().map(|index| index.name.as_str()).collect();
    let data = json!({
        "there": there.len(), "missing": missing, "invalid": invalid, "unused": names,
        "statisticsSeconds": since.round(),
    });
    report.note_schema("indexes", text, data);
}

/// Reports unused indexes that no migration creates: an operator should not drop those that a migration creates.
fn strangers(unused: &[&Index], schema: &str, service: &Service, report: &mut Report) {
    let ours: Vec<String> = expected(service).into_iter().map(|index| index.name).collect();
    for index in unused.iter().filter(|index| !ours.contains(&index.name)) {
        report.find(
            Level::Advice,
            "unused-index",
            format!("index {} ({}) has never been used", index.name, bytes(index.size)),
            "No migration makes it, no statement reads it, and every write keeps it up to date.",
            vec![format!("DROP INDEX CONCURRENTLY {schema}.{};", quoted(&index.name))],
        );
    }
}

#[derive(Deserialize)]
struct Key {
    relation: String,
    name: String,
    columns: String,
}

/// Reports foreign keys that no index serves.
pub(super) async fn foreign_keys(session: &mut Session, schema: &str, report: &mut Report) {
    let bare = session
        .rows::<Key>(&format!(
            "SELECT c.conrelid::regclass::text AS relation, c.conname AS name, \
             (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) FROM unnest(c.conkey) WITH ORDINALITY \
              AS k (number, place) JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS columns \
             FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace \
             WHERE c.contype = 'f' AND n.nspname = '{}' AND NOT EXISTS (SELECT FROM pg_index i \
              WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL \
              AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey) ORDER BY 1, 2",
            schema.replace('\'', "''")
        ))
        .await;
    let bare = match bare {
        Ok(bare) => bare,
        Err(unavailable) => return report.schema.push(unavailable.fact("foreignKeys", "")),
    };
    let text = match bare.len() {
        0 => "each has an index".to_owned(),
        count => format!("{count} without an index"),
    };
    let names: Vec<&str> = bare.iter().map(|key| key.name.as_str()).collect();
    report.note_schema("foreignKeys", text, json!({ "withoutIndex": names }));
    for key in &bare {
        report.find(
            Level::Warn,
            "foreign-key",
            format!("foreign key {} of {} has no index", key.name, key.relation),
            "Deleting or renumbering a row it points to reads the whole table, and locks as long.",
            vec![format!(
                "CREATE INDEX CONCURRENTLY ON {} ({});",
                key.relation, key.columns
            )],
        );
    }
}

/// An index that a migration creates.
#[derive(Debug)]
struct Expected {
    version: i64,
    name: String,
    statement: String,
}

/// Returns every index that the migrations create by name, and neither drop later nor make a constraint of.
fn expected(service: &Service) -> Vec<Expected> {
    let mut expected: Vec<Expected> = Vec::new();
    for Statement { version, text } in statements(service) {
        let words: Vec<&str> = text.split(' ').collect();
        let Some(index) = words.iter().position(|word| *word == "INDEX") else {
            continue;
        };
        let name = words
            .iter()
            .skip(index + 1)
            .find(|word| !["CONCURRENTLY", "IF", "NOT", "EXISTS"].contains(word));
        let Some(name) = name.map(|name| (*name).to_owned()) else {
            continue;
        };
        match words.first() {
            Some(&"CREATE") => expected.push(Expected {
                version,
                name,
                statement: text,
            }),
            Some(&"DROP" | &"ALTER") => expected.retain(|index| index.name != name),
            _ => {}
        }
    }
    expected
}
