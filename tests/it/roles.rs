//! The roles of `docs/postgres/roles.md`, created by its own SQL: each has the privileges that it needs, and no more.

use std::fs;

use local::lambda::{Lambda, Options, Outcome};
use local::postgres::{Cluster, Settings};
use shared::config::DatabaseUrl;
use shared::db::migrate::seed;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::answer::Answer;
use super::backend::{connect, functions, invoke, migrated, workspace};
use super::names::{expected_status, files};

const SEED: &str = include_str!("../../cli/src/seed.sql");

/// SQLSTATE of insufficient_privilege.
const NOT_ALLOWED: &str = "42501";

/// Returns the statements of the chapter about roles: those for the server, then those for the database. Blocks with
/// psql commands are left out: they set passwords, or require a superuser instead of these roles.
fn guide() -> [Vec<String>; 2] {
    let chapter = fs::read_to_string(workspace().join("docs/postgres/roles.md")).unwrap();
    let blocks = chapter.split("\n```sql\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("\n```").unwrap().0);
    let plain = blocks.filter(|block| !block.contains('\\'));
    let statements = |block: &str| block.split(";\n").map(str::to_owned).collect();
    let plain: Vec<_> = plain.map(statements).collect();
    plain.try_into().expect("two blocks of plain SQL")
}

async fn run(session: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await.map(|_| ())
}

async fn refused(session: &mut PgConnection, sql: &str) {
    let error = run(session, sql).await.expect_err(sql);
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some(NOT_ALLOWED), "{sql}: {error}");
}

/// A cluster with the guide's roles and an empty database.
pub async fn prepared(settings: Settings) -> Cluster {
    let cluster = Cluster::throwaway(settings).await.unwrap();
    let [server, database] = guide();
    let mut session = connect(&cluster.url_of("postgres")).await;
    // The cluster's own database, which has the same name as the guide's.
    run(&mut session, "DROP DATABASE seer").await.unwrap();
    for statement in server {
        run(&mut session, &statement).await.unwrap();
    }
    for role in ["seer_migrator", "seer_app", "seer_monitor"] {
        let password = format!("ALTER ROLE {role} PASSWORD '{}'", cluster.password());
        run(&mut session, &password).await.unwrap();
    }
    let mut session = connect(&cluster.url_of("seer")).await;
    for statement in database {
        run(&mut session, &statement).await.unwrap();
    }
    cluster
}

/// The connection string of a role.
pub fn url(cluster: &Cluster, role: &str) -> String {
    let (password, port) = (cluster.password(), cluster.port());
    format!("postgres://{role}:{password}@127.0.0.1:{port}/seer")
}

#[tokio::test]
async fn functions_work_as_application_role() {
    let cluster = prepared(Settings::default()).await;
    migrated(&url(&cluster, "seer_migrator")).await;
    let application = url(&cluster, "seer_app");
    let target = DatabaseUrl::parse(&application).unwrap();
    let lambda = Lambda::start(functions(&application), Options::default()).unwrap();
    let mut owner = connect(&cluster.url_of("seer")).await;
    for (name, event) in files("tests/events", "json") {
        // Undoes what the previous event changed.
        run(&mut owner, "TRUNCATE users CASCADE").await.unwrap();
        seed(&target, &functions::SERVICE, SEED).await.unwrap();
        let function = name.trim_end_matches("-scheduled");
        let invocation = invoke(&lambda, function, event.into_bytes()).await;
        if name == function {
            Answer::of(function, invocation).is(expected_status(function));
        } else {
            let Outcome::Success(report) = invocation.outcome else {
                panic!("{:?}", invocation.outcome)
            };
            let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
            assert_eq!(report["state"], "up", "{report}");
        }
    }
}

#[tokio::test]
async fn application_role_only_changes_rows() {
    let cluster = prepared(Settings::default()).await;
    let migrator = url(&cluster, "seer_migrator");
    migrated(&migrator).await;
    let mut session = connect(&url(&cluster, "seer_app")).await;
    for sql in [
        "DROP TABLE meetings",
        "ALTER TABLE meetings ADD COLUMN mine text",
        "TRUNCATE receipts",
        "SELECT actor FROM audit",
        "DELETE FROM audit",
        "UPDATE audit SET actor = 'nobody'",
        "INSERT INTO audit (at, request_id, action, kind, status) VALUES (now(), 'r', 'a', 'k', 200)",
        "CREATE INDEX mine ON meetings (title)",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SET ROLE seer_owner",
        "COPY users TO PROGRAM 'cat'",
    ] {
        refused(&mut session, sql).await;
    }

    // The table of a later migration, which grants no privileges on it.
    let mut later = connect(&migrator).await;
    let table = "CREATE TABLE later (id serial PRIMARY KEY, note text)";
    run(&mut later, table).await.unwrap();
    let rows = "INSERT INTO later (note) VALUES ('a'); UPDATE later SET note = 'b'; DELETE FROM later";
    run(&mut session, rows).await.unwrap();
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'";
    let owners = sqlx::raw_sql(owners).fetch_all(&mut later).await.unwrap();
    let owners: Vec<String> = owners.iter().map(|row| row.get(0)).collect();
    assert_eq!(owners, ["seer_owner"]);
}

#[tokio::test]
async fn monitoring_role_sees_no_rows() {
    let cluster = prepared(Settings::default()).await;
    migrated(&url(&cluster, "seer_migrator")).await;
    let _application = connect(&url(&cluster, "seer_app")).await;
    let mut session = connect(&url(&cluster, "seer_monitor")).await;
    let others = "SELECT state FROM pg_stat_activity WHERE usename = 'seer_app' AND state IS NOT NULL";
    assert_eq!(sqlx::raw_sql(others).fetch_all(&mut session).await.unwrap().len(), 1);
    refused(&mut session, "SELECT * FROM users").await;
    refused(&mut session, "INSERT INTO users DEFAULT VALUES").await;
}
