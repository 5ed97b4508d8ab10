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
