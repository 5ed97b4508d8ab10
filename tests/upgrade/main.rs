//! Migration 5: functions of the earlier release keep working during and after it, beside the new ones. And migration 51,
//! which applies what waits already.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../shared/tests/db/bench.rs"]
#[allow(
    dead_code,
    reason = "the surroundings of the engine's own tests, of which these need a part"
)]
mod bench;

use std::net::SocketAddr;

use functions::{MIGRATIONS, SERVICE};
use local::postgres::{Cluster, Settings};
use local::proxy::Proxy;
use sha2::{Digest as _, Sha256};
use shared::Service;
use shared::config::DatabaseUrl;
use shared::db::migrate::migrate;
use shared::db::{IdempotencyKey, Written};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use bench::{Bench, pool, until};

const BODY: &[u8] = b"body";

/// A database of the earlier release.
async fn earlier() -> Bench {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], cluster.port())))
        .await
        .unwrap();
    let pool = pool(&proxy.url(&cluster.url()), "");
    let bench = Bench { cluster, proxy, pool };
    let migrations = MIGRATIONS.iter().filter(|migration| migration.version < 5);
    let mut direct = bench.direct().await;
    Migrator::with_migrations(migrations.cloned().collect())
        .run(&mut direct)
        .await
        .unwrap();
    direct.close().await.unwrap();
    bench
        .sql("CREATE TABLE notes (id uuid PRIMARY KEY, text text NOT NULL)")
        .await;
    bench
}

async fn upgraded() -> Bench {
    let bench = earlier().await;
    migrate(&DatabaseUrl::parse(&bench.cluster.url()).unwrap(), &SERVICE)
        .await
        .unwrap();
    bench
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::from_client("caller", name, &[BODY])
}

/// Returns the digest as the earlier release computed it.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'::bytea")
}

/// The earlier release's statement for the receipt of a request.
fn receipt(name: &str, response: &str) -> String {
    let (key, request) = (digest(&[b"keyed", b"caller", name.as_bytes()]), digest(&[BODY]));
    let response: String = response.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "INSERT INTO idempotency_keys AS k (key, request, response, expires_at) \
         VALUES ({key}, {request}, '\\x{response}'::bytea, now() + interval '86400 seconds') \
         ON CONFLICT (key) DO UPDATE SET request = excluded.request, response = excluded.response, \
         created_at = now(), expires_at = excluded.expires_at WHERE k.expires_at <= now();\
         DELETE FROM idempotency_keys WHERE key IN (SELECT key FROM idempotency_keys \
         WHERE expires_at < now() ORDER BY expires_at LIMIT 2 FOR UPDATE SKIP LOCKED);\
         SET LOCAL statement_timeout = 0;COMMIT"
    )
}

fn created(id: Uuid) -> String {
    format!(
        r#"{{"status":201,"headers":[["content-type","application/json"],["etag","\"1\""]],"body":"{{\"id\":\"{id}\",\"title\":\"café \\u0001\"}}"}}"#
    )
}

/// A write of the earlier release: a note and its receipt, in one transaction.
async fn earlier_write(session: &mut PgConnection, name: &str, id: Uuid) -> Result<(), sqlx::Error> {
    let sql = format!("BEGIN; INSERT INTO notes VALUES ('{id}', 'text')");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *session).await?;
    let committed = sqlx::raw_sql(AssertSqlSafe(receipt(name, &created(id))))
        .execute(&mut *session)
        .await;
    if committed.is_err() {
        sqlx::raw_sql("ROLLBACK").execute(session).await?;
    }
    committed.map(drop)
}

async fn replays(bench: &Bench, name: &str, status: u16, id: Uuid) {
    let again = bench.write_under(&key(name), Uuid::now_v7()).await.unwrap();
    assert!(
        matches!(again, Written::Replayed(receipt, Ok(_)) if receipt.id == id && receipt.status == status),
        "{name}: {again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_receipts_are_copied() {
    let bench = earlier().await;
    let (id, late) = (Uuid::now_v7(), Uuid::now_v7());
    let mut session = bench.direct().await;
    earlier_write(&mut session, "created", id).await.unwrap();
    for (name, response) in [
        ("empty", r#"{"status":204,"headers":[],"body":null}"#.to_owned()),
        (
            "no id",
            r#"{"status":200,"headers":[],"body":"{\"count\":1}"}"#.to_owned(),
        ),
        ("expired", created(Uuid::now_v7())),
        ("without a client's key", String::new()),
    ] {
        let sql = format!("BEGIN;{}", receipt(name, &response));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.unwrap();
    }
    let expire = format!(
        "UPDATE idempotency_keys SET expires_at = now() WHERE key = {}",
        digest(&[b"keyed", b"caller", b"expired"])
    );
    bench.sql(&expire).await;

    // One that is running when the migration begins.
    let sql = format!(
        "BEGIN;{}",
        receipt("late", &created(late)).replace("COMMIT", "SELECT 1")
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.unwrap();
    let url = DatabaseUrl::parse(&bench.cluster.url()).unwrap();
    let (migrated, ()) = tokio::join!(migrate(&url, &SERVICE), async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        until("the migration waits", async || bench.count(waiting).await > 0).await;
        sqlx::raw_sql("COMMIT").execute(&mut session).await.unwrap();
    });
    assert_eq!(migrated.unwrap()[..2], ["0000 receipts", "0005 copy earlier receipts"]);

    replays(&bench, "created", 201, id).await;
    replays(&bench, "late", 201, late).await;
    replays(&bench, "empty", 204, Uuid::nil()).await;
    replays(&bench, "no id", 200, Uuid::nil()).await;
    let other = IdempotencyKey::from_client("caller", "created", &[b"another body"]);
    let refused = bench.write_under(&other, Uuid::now_v7()).await.unwrap();
    assert!(matches!(refused, Written::KeyReused), "{refused:?}");
    assert_eq!(bench.count("SELECT count(*) FROM receipts").await, 4);
    let again = bench.write_under(&key("expired"), Uuid::now_v7()).await.unwrap();
    assert!(matches!(again, Written::Done(_)), "{again:?}");
}

/// A write that began before acquires more locks while the migrations wait for it: neither may wait for the other.
#[tokio::test(flavor = "multi_thread")]
async fn migration_avoids_write_deadlock() {
    let bench = earlier().await;
    let mut session = bench.direct().await;
    let lock = "BEGIN; SELECT FROM meetings FOR NO KEY UPDATE";
    sqlx::raw_sql(lock).execute(&mut session).await.unwrap();
    let url = DatabaseUrl::parse(&bench.cluster.url()).unwrap();
    let (migrated, ()) = tokio::join!(migrate(&url, &SERVICE), async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        until("the migrations wait", async || bench.count(waiting).await > 0).await;
        let update = "UPDATE meetings SET title = title; UPDATE tasks SET text = text";
        sqlx::raw_sql(update).execute(&mut session).await.unwrap();
        let receipt = receipt("late", &created(Uuid::now_v7()));
        sqlx::raw_sql(AssertSqlSafe(receipt))
            .execute(&mut session)
            .await
            .unwrap();
    });
    migrated.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM receipts").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_write_side_by_side() {
    let bench = upgraded().await;
    let mut session = bench.direct().await;
    let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
    earlier_write(&mut session, "old first", old).await.unwrap();
    replays(&bench, "old first", 201, old).await;

    bench.write_under(&key("new first"), new).await.unwrap();
    let second = Uuid::now_v7();
    let refused = earlier_write(&mut session, "new first", second).await.unwrap_err();
    let refused = refused.as_database_error().unwrap();
    assert_eq!(
        (refused.code().as_deref(), refused.constraint()),
        (Some("23505"), Some("receipts_pkey"))
    );
    assert_eq!(bench.notes(second).await, 0);
    replays(&bench, "new first", 201, new).await;

    // Both keys have expired, in both tables, and are usable once more by the earlier release.
    bench.expire_receipts().await;
    bench
        .sql("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
        .await;
    for name in ["old first", "new first"] {
        let id = Uuid::now_v7();
        earlier_write(&mut session, name, id).await.unwrap();
        replays(&bench, name, 201, id).await;
    }
}

/// Its caller needs no rights on the table.
#[tokio::test(flavor = "multi_thread")]
async fn sweep_deletes_only_expired_receipts() {
    let bench = upgraded().await;
    bench
        .sql(
            "INSERT INTO receipts (key, request, kind, id, expires_at) \
             SELECT gen_random_uuid(), gen_random_uuid(), kind, gen_random_uuid(), now() + expires::interval \
             FROM (VALUES ('kept', '1 minute'), ('expired', '-1 minute'), ('expired', '-2 minutes'), ('old', '-1 day')) \
             AS r (kind, expires);
             CREATE ROLE guest; GRANT USAGE ON SCHEMA public TO guest",
        )
        .await;
    let mut session = bench.direct().await;
    sqlx::raw_sql("SET ROLE guest").execute(&mut session).await.unwrap();
    let mut swept = Vec::new();
    for _ in 0..3 {
        let sweep = sqlx::raw_sql("SELECT sweep_receipts('10 minutes', 1)");
        swept.push(sweep.fetch_one(&mut session).await.unwrap().get::<i64, _>(0));
    }
    assert_eq!(swept, [1, 1, 0]);
    let refused = sqlx::raw_sql("SELECT FROM receipts").execute(&mut session).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("42501"));
    let left = "SELECT count(*) FILTER (WHERE kind IN ('kept', 'old')) FROM receipts";
    assert_eq!(bench.count(left).await, 2);
    assert_eq!(bench.count("SELECT count(*) FROM receipts").await, 2);
}

/// A recording that waited although its meeting was known: the first bot of the event failed.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_recording_is_applied() {
    let bench = Bench::new().await;
    let url = DatabaseUrl::parse(&bench.cluster.url()).unwrap();
    let before = MIGRATIONS.iter().filter(|migration| migration.version < 51);
    let mut service = Service::new("seer");
    service.migrations = Some(Box::leak(Box::new(Migrator::with_migrations(
        before.cloned().collect(),
    ))));
    migrate(&url, &service).await.unwrap();
    let report = |number: u8, bot: &str, kind: &str| {
        format!(
            "SELECT deliver_recording(jsonb_populate_record(NULL::webhook_inbox, jsonb_build_object( \
             'id', '00000000-0000-4000-8000-00000000000{number}', 'received_at', now(), 'bot_id', '{bot}', \
             'event_id', 'event', 'kind', '{kind}', 'skipped', 0, \
             'processing_status', CASE '{kind}' WHEN 'failed' THEN 'failed' END, 'transcript', '{bot}')));"
        )
    };
    let lead = "'00000000-0000-4000-8000-0000000000a1'";
    bench
        .sql(&format!(
            "INSERT INTO users (id, clerk_id, email, name, role) VALUES ({lead}, 'lead', '', '', 'admin'); \
             INSERT INTO meetings (id, team_id, created_by, team_member_id, title, date, duration, calendar_event_id) \
             VALUES (gen_random_uuid(), {lead}, {lead}, {lead}, '', now(), 30, 'event'); {} {}",
            report(1, "first", "failed"),
            report(2, "second", "complete")
        ))
        .await;
    let recorded = "SELECT count(*) FROM meetings WHERE transcript = 'second' AND processing_status = 'completed'";
    assert_eq!(bench.count(recorded).await, 0);
    migrate(&url, &SERVICE).await.unwrap();
    assert_eq!(bench.count(recorded).await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM webhook_inbox").await, 0);
}
