//! Migrations and indexes.

use local::postgres::{Cluster, Settings};

use super::{FAILING, commands, connect, execute, ids, json, migrated, sound, verdict};

#[tokio::test]
async fn missing_index_gets_its_statement() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    assert!(!ids(&json(&url, &[]).await).contains(&"missing-index"));
    let mut session = connect(&url).await;
    let made: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE c.relnamespace = 'public'::regnamespace \
         AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid) ORDER BY 1",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    for index in &made {
        execute(&url, &format!("DROP INDEX {index}")).await;
    }
    let report = json(&url, &[]).await;
    let mut missing: Vec<&str> = report["schema"]["indexes"]["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    missing.sort_unstable();
    assert_eq!(missing, made);
    assert!(ids(&report).contains(&"foreign-key"), "{report:#}");
    for statement in commands(&report, "missing-index") {
        execute(&url, &statement).await;
    }
    let report = json(&url, &[]).await;
    for id in ["missing-index", "foreign-key", "invalid-index"] {
        assert!(!ids(&report).contains(&id), "{report:#}");
    }
}

/// Also one that no statement of a function reads.
#[tokio::test]
async fn missing_column_gets_its_statement() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    let report = json(&url, &[]).await;
    let mut session = connect(&url).await;
    let columns: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> '_sqlx_migrations'",
    )
    .fetch_one(&mut session)
    .await
    .unwrap();
    let compared = &report["schema"]["columns"];
    assert_eq!(
        (&compared["expected"], &compared["missing"]),
        (&columns.into(), &serde_json::json!([]))
    );
    execute(
        &url,
        "ALTER TABLE users DROP COLUMN clerk_updated_at; ALTER TABLE tasks RENAME COLUMN text TO body; \
         ALTER TABLE meetings DROP COLUMN agenda_phases CASCADE",
    )
    .await;
    let report = json(&url, &[]).await;
    let missing = serde_json::json!(["meetings.agenda_phases", "tasks.text", "users.clerk_updated_at"]);
    assert_eq!(report["schema"]["columns"]["missing"], missing);
    for statement in commands(&report, "missing-column") {
        execute(&url, &statement).await;
    }
    let report = json(&url, &[]).await;
    assert!(!ids(&report).contains(&"missing-column"), "{report:#}");
}

#[tokio::test]
async fn pending_or_unknown_migration_is_named() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let (code, first) = verdict(&cluster.url()).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(first.contains("no migration was ever applied"), "{first}");
    let cluster = migrated(sound()).await;
    execute(
        &cluster.url(),
        "UPDATE _sqlx_migrations SET version = 9999 WHERE version = 4; \
         UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1",
    )
    .await;
    let report = json(&cluster.url(), &[]).await;
    let said = ids(&report);
    for id in ["pending-migrations", "newer-schema", "changed-migrations"] {
        assert!(said.contains(&id), "{id}: {report:#}");
    }
    assert_eq!(report["schema"]["migrations"]["pending"][0], "0004 idempotency keys");
}
