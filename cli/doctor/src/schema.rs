//! Examines the schema: the applied migrations and, with `columns` and `indexes`, their tables and indexes.
//!
//! Invariants: derives the expected schema from the migrations themselves; never migrates.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use shared::Service;
use shared::config::DatabaseUrl;
use shared::db::migrate;

use super::Product;
use super::cause::{literal, quoted};
use super::columns;
use super::indexes;
use super::report::{Level, Report};
use super::server::Server;
use super::session::{Session, Unavailable};
use super::workload;

#[derive(Deserialize)]
struct MigrationsTable {
    schema: String,
    on_path: bool,
    usable: bool,
    readable: bool,
    search_path: String,
}

/// Examines the schema that the URL refers to, as the product's migrations and statements need it.
pub(super) async fn examine(
    session: &mut Session,
    url: &DatabaseUrl,
    server: &Server,
    product: &Product<impl Sized>,
    report: &mut Report,
) {
    let service = product.service;
    let found = session
        .rows::<MigrationsTable>(
            "SELECT n.nspname AS schema, n.nspname = ANY (current_schemas(false)) AS on_path, \
             has_schema_privilege(n.oid, 'USAGE') AS usable, has_table_privilege(c.oid, 'SELECT') AS readable, \
             current_setting('search_path') AS search_path \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = '_sqlx_migrations' AND c.relkind = 'r' ORDER BY on_path DESC, 1 LIMIT 1",
        )
        .await;
    let table = match found.map(|rows| rows.into_iter().next()) {
        Err(unavailable) => return report.schema.push(unavailable.fact("migrations", "")),
        Ok(None) => {
            report.note_schema(
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
    let correction = path_correction(url, server, &table.schema);
    if table.usable && !table.on_path {
        let MigrationsTable {
            schema, search_path, ..
        } = &table;
        let what = if url.search_path().is_some() {
            format!("schema= in DATABASE_URL is not {schema}, which has the tables")
        } else {
            format!(
                "the search_path of {} is {search_path}: without {schema}, which has the tables",
                server.role
            )
        };
        report.find(
            Level::Fail,
            "search-path",
            what,
            "Every statement of the functions fails: it finds no table. Sessions that are open keep their search_path.",
            correction.clone(),
        );
        // So that the statements show what else is wrong.
        session.look_into(schema);
    }
    if table.usable {
        workload::examine(session, server, &table.schema, product, &correction, report).await;
    } else {
        let schema = quoted(&table.schema);
        let what = format!(
            "role {} may not use schema {}, which has the tables",
            server.role, table.schema
        );
        if server.is_application() {
            let why = "Every statement of the functions fails: to this role the tables do not exist.";
            report.find(Level::Fail, "privileges", what, why, server.privileges(&schema));
        } else {
            let why = "The function health, if it logs in as this role, deletes no expired receipts.";
            let grant = format!("GRANT USAGE ON SCHEMA {schema} TO {};", quoted(&server.role));
            report.find(Level::Warn, "privileges", what, why, vec![grant]);
        }
    }
    let applied = migrations(session, server, &table, service, report).await;
    columns::examine(session, service, &table.schema, applied.as_ref(), report).await;
    indexes::examine(session, &table.schema, service, applied.as_ref(), report).await;
    indexes::foreign_keys(session, &table.schema, report).await;
}

/// Returns the lines after which the functions find the tables of `schema` first.
fn path_correction(url: &DatabaseUrl, server: &Server, schema: &str) -> Vec<String> {
    if url.search_path().is_some() {
        return vec![format!("let the parameter in DATABASE_URL be schema={schema}")];
    }
    let [role, database] = [&server.role, &server.database];
    vec![
        format!(
            "ALTER ROLE {} IN DATABASE {} SET search_path = {};   -- or the parameter schema={schema} of DATABASE_URL",
            quoted(role),
            quoted(database),
            quoted(schema)
        ),
        format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {} AND datname = {} AND pid <> \
             pg_backend_pid();",
            literal(role),
            literal(database)
        ),
    ]
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
    report.note_schema(
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
