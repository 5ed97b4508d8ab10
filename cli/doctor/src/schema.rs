//! Examines the schema: which migrations are applied, which columns and indexes exist.
//!
//! Invariants: derives the expected schema from the migrations themselves; never migrates.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use shared::Service;
use shared::db::migrate;
use shared::db::roles::application_privileges;

use super::cause::quoted;
use super::columns;
use super::migrations::{Statement, statements};
use super::report::{Fact, Level, Report};
use super::server::{Server, bytes, span};
use super::session::{Session, Unavailable};
use super::workload;

/// Statistics younger than this do not prove that an index is unused.
const SETTLED_SECONDS: f64 = 7.0 * 86_400.0;

#[derive(Deserialize)]
struct MigrationsTable {
    schema: String,
    on_path: bool,
    usable: bool,
    readable: bool,
}

/// Examines the schema that the URL refers to, as the migrations of `service` and the statements of `queries` need it.
pub(super) async fn examine(
    session: &mut Session,
    server: &Server,
    service: &Service,
    queries: &[&str],
    report: &mut Report,
) {
    let found = session
        .rows::<MigrationsTable>(
            "SELECT n.nspname AS schema, n.nspname = ANY (current_schemas(false)) AS on_path, \
             has_schema_privilege(n.oid, 'USAGE') AS usable, has_table_privilege(c.oid, 'SELECT') AS readable \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = '_sqlx_migrations' AND c.relkind = 'r' ORDER BY on_path DESC, 1 LIMIT 1",
        )
        .await;
    let table = match found.map(|rows| rows.into_iter().next()) {
        Err(unavailable) => return report.schema.push(unavailable.fact("migrations", "")),
        Ok(None) => {
            add(
                report,
                "migrations",
                "none applied",
                json!({ "applied": 0, "pending": migrate::migrations(service).iter().count() }),
            );
            return report.find(
                Level::Fail,
                "no-schema",
                "the database has no schema: no migration was ever applied",
                "Every function fails at its first statement; or the URL names another database than was meant.",
                vec!["cargo seer migrate   # with the owner's DATABASE_URL".to_owned()],
            );
        }
        Ok(Some(table)) => table,
    };
    if table.usable && !table.on_path {
        report.find(
            Level::Fail,
            "search-path",
            "the tables are in a schema that this role does not look into",
            "They are found only by their search_path.",
            vec![format!(
                "ALTER ROLE {} IN DATABASE {} SET search_path = {};   -- or the parameter schema of DATABASE_URL",
                quoted(&server.role),
                quoted(&server.database),
                quoted(&table.schema)
            )],
        );
    }
    if table.usable {
        workload::examine(session, server, &table.schema, queries, report).await;
    } else if server.is_application() {
        let (schema, role) = (quoted(&table.schema), quoted(&server.role));
        report.find(
            Level::Fail,
            "privileges",
            format!(
                "role {} may not use schema {}, which has the tables",
                server.role, table.schema
            ),
            "Every statement of the functions fails: to this role the tables do not exist.",
            application_privileges(&schema, &role).to_vec(),
        );
    }
    let applied = migrations(session, server, &table, service, report).await;
    columns::examine(session, service, &table.schema, applied.as_ref(), report).await;
    indexes(session, &table, service, applied.as_ref(), report).await;
    foreign_keys(session, &table, report).await;
}

fn add(report: &mut Report, id: &'static str, text: impl Into<String>, data: Value) {
    report.schema.push(Fact {
        id,
        text: text.into(),
        more: Vec::new(),
        data,
    });
}

#[derive(Deserialize)]
struct Applied {
    version: i64,
    checksum: String,
    success: bool,
}

/// Returns the applied versions, if this role may see them.
async fn migrations(
    session: &mut Session,
    server: &Server,
    table: &MigrationsTable,
    service: &Service,
    report: &mut Report,
) -> Option<BTreeSet<i64>> {
    let schema = quoted(&table.schema);
    let mut grant = format!("GRANT SELECT ON {schema}._sqlx_migrations TO {};", quoted(&server.role));
    if !table.usable {
        grant = format!("GRANT USAGE ON SCHEMA {schema} TO {}; {grant}", quoted(&server.role));
    }
    let asked = if table.usable && table.readable {
        session
            .rows::<Applied>(&format!(
                "SELECT version, encode(checksum, 'hex') AS checksum, success FROM {schema}._sqlx_migrations"
            ))
            .await
    } else {
        Err(Unavailable::Hidden)
    };
    let rows = match asked {
        Ok(rows) => rows,
        Err(unavailable) => {
            report.schema.push(unavailable.fact("migrations", &grant));
            return None;
        }
    };
    let applied: BTreeSet<i64> = rows.iter().filter(|row| row.success).map(|row| row.version).collect();
    let ours = migrate::migrations(service);
    let name = |migration: &sqlx::migrate::Migration| format!("{:04} {}", migration.version, migration.description);
    let pending: Vec<String> = ours
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(name)
        .collect();
    let known: BTreeSet<i64> = ours.iter().map(|migration| migration.version).collect();
    let newer: Vec<String> = applied
        .difference(&known)
        .map(|version| format!("{version:04}"))
        .collect();
    let changed: Vec<String> = ours
        .iter()
        .filter(|migration| {
            let hex: String = migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
            rows.iter()
                .any(|row| row.version == migration.version && row.checksum != hex)
        })
        .map(name)
        .collect();
    let mut text = format!("{} of {} applied", applied.intersection(&known).count(), known.len());
    if !pending.is_empty() {
        text.push_str(&format!("; pending: {}", pending.join(", ")));
    }
    add(
        report,
        "migrations",
        text,
        json!({ "applied": applied, "pending": pending, "unknown": newer, "changed": changed }),
    );
    if !pending.is_empty() {
        report.find(
            Level::Warn,
            "pending-migrations",
            format!("{} of this build's migrations are not applied", pending.len()),
            "Functions of this build may fail on tables and columns that do not exist yet.",
            vec!["cargo seer migrate   # with the owner's DATABASE_URL".to_owned()],
        );
    }
    if !newer.is_empty() {
        report.find(
            Level::Warn,
            "newer-schema",
            format!(
                "the database has migrations that this build does not know: {}",
                newer.join(", ")
            ),
            "This checkout is older than what was deployed.",
            vec!["git pull".to_owned()],
        );
    }
    if !changed.is_empty() {
        report.find(
            Level::Warn,
            "changed-migrations",
            format!(
                "migrations were changed after they were applied: {}",
                changed.join(", ")
            ),
            "What the database has is not what the file says, and cargo seer migrate refuses to go on.",
            vec![
                "git log functions/migrations shared/migrations   # undo the change, and write a new migration"
                    .to_owned(),
            ],
        );
    }
    Some(applied)
}

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

async fn indexes(
    session: &mut Session,
    table: &MigrationsTable,
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
            table.schema.replace('\'', "''")
        ))
        .await;
    let there = match there {
        Ok(there) => there,
        Err(unavailable) => return report.schema.push(unavailable.fact("indexes", "")),
    };
    let schema = quoted(&table.schema);
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
    add(report, "indexes", text, data);
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

async fn foreign_keys(session: &mut Session, table: &MigrationsTable, report: &mut Report) {
    let bare = session
        .rows::<Key>(&format!(
            "SELECT c.conrelid::regclass::text AS relation, c.conname AS name, \
             (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) FROM unnest(c.conkey) WITH ORDINALITY \
              AS k (number, place) JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS columns \
             FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace \
             WHERE c.contype = 'f' AND n.nspname = '{}' AND NOT EXISTS (SELECT FROM pg_index i \
              WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL \
              AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey) ORDER BY 1, 2",
            table.schema.replace('\'', "''")
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
    add(report, "foreignKeys", text, json!({ "withoutIndex": names }));
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
