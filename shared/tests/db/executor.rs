//! Executor, transactions and connections that the caller ends: where they behave like sqlx's pool, and where not.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use local::postgres::Settings;
use local::proxy::Cut;
use shared::SharedPool;
use shared::db::Deadline;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};
use uuid::Uuid;

use super::bench::{Bench, PLENTY, one};

/// Longer than an idle connection is reused without a ping.
const STALE: Duration = Duration::from_millis(1_100);

/// Set in the process that has its own pool.
const WITHIN: &str = "SEER_TEST_SHARED_POOL";

async fn insert(bench: &Bench, id: Uuid) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO notes VALUES ($1, 'text')").bind(id);
    insert.execute(&bench.pool).await.map(drop)
}

/// A statement may be sent while the rows of another are read.
#[tokio::test(flavor = "multi_thread")]
async fn statements_share_one_connection() {
    let bench = Bench::new().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    insert(&bench, first).await.unwrap();
    insert(&bench, second).await.unwrap();
    let mut rows = sqlx::query_scalar::<_, Uuid>("SELECT id FROM notes ORDER BY id").fetch(&bench.pool);
    let mut seen = Vec::new();
    while let Some(id) = rows.try_next().await.unwrap() {
        let delete = sqlx::query("DELETE FROM notes WHERE id = $1").bind(id);
        assert_eq!(delete.execute(&bench.pool).await.unwrap().rows_affected(), 1);
        seen.push(id);
    }
    assert_eq!(seen, [first, second]);
    assert_eq!(bench.proxy.counts().opened, 1);
}

/// A session that the server terminates is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn refused_statement_keeps_connection() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    insert(&bench, id).await.unwrap();
    let refused = insert(&bench, id).await.unwrap_err();
    assert!(refused.as_database_error().unwrap().is_unique_violation());
    assert_eq!(bench.proxy.counts().opened, 1);
    let ended = sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(&bench.pool);
    ended.await.unwrap_err();
    bench.pool.execute("SELECT 1").await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_blackhole_costs_no_error() {
    let bench = Bench::new().await;
    bench.pool.execute(sqlx::query("SELECT 1")).await.unwrap();
    tokio::time::sleep(STALE).await;
    bench.proxy.silence();
    bench.pool.execute("SELECT 1").await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_server_is_given_up() {
    let bench = Bench::with(Settings::default(), "socket_timeout=1").await;
    let mut transaction = bench.pool.begin().await.unwrap();
    bench.proxy.silence();
    let given_up = transaction.execute("SELECT 1").await.unwrap_err();
    assert!(matches!(given_up, sqlx::Error::Io(_)), "{given_up}");
    transaction.commit().await.unwrap_err();
    bench.pool.execute("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_commit_reply_is_looked_up() {
    let bench = Bench::new().await;
    for (cut, there) in [
        (Cut::BeforeServer, 0),
        (Cut::AfterServer, 1),
        (Cut::BeforeAcknowledgement, 1),
    ] {
        let id = Uuid::now_v7();
        let mut transaction = bench.pool.begin().await.unwrap();
        let insert = sqlx::query("INSERT INTO notes VALUES ($1, 'text')").bind(id);
        insert.execute(&mut *transaction).await.unwrap();
        bench.proxy.cut_commits(cut, 1);
        assert_eq!(transaction.commit().await.is_ok(), there == 1, "{cut:?}");
        assert_eq!(bench.notes(id).await, there, "{cut:?}");
    }
    assert_eq!(bench.proxy.counts().cut, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn uncommitted_write_is_absent() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    let insert = || sqlx::query("INSERT INTO notes VALUES ($1, 'text')").bind(id);

    let mut transaction = bench.pool.begin().await.unwrap();
    insert().execute(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 1);

    let mut transaction = bench.pool.begin().await.unwrap();
    insert().execute(&mut *transaction).await.unwrap();
    // sqlx's own pool would report that it was committed.
    insert().execute(&mut *transaction).await.unwrap_err();
    transaction.commit().await.unwrap_err();

    let mut transaction = bench.pool.begin().await.unwrap();
    insert().execute(&mut *transaction).await.unwrap();
    drop(transaction);
    bench.pool.execute("SELECT 1").await.unwrap();
    assert_eq!(bench.notes(id).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_session_state_does_not_leak() {
    let bench = Bench::new().await;
    let mut held = bench.pool.acquire().await.unwrap();
    held.execute("SET work_mem = '77MB'").await.unwrap();
    let set: String = sqlx::query_scalar("SHOW work_mem").fetch_one(&mut held).await.unwrap();
    assert_eq!(set, "77MB");
    drop(held);
    let set: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_ne!(set, "77MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_session_state_does_not_leak() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    let text = format!("INSERT INTO notes VALUES ('{id}', 'text');");
    let batch = |sql: String| sqlx::raw_sql(AssertSqlSafe(sql)).execute(&bench.pool);
    let failed = batch(format!("BEGIN; {text} {text} COMMIT")).await.unwrap_err();
    assert!(failed.as_database_error().unwrap().is_unique_violation());
    let read = bench.pool.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(read.unwrap(), 1);
    assert_eq!(bench.notes(id).await, 0);

    batch(format!("BEGIN; SET work_mem = '77MB'; {text}")).await.unwrap();
    let set: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_ne!(set, "77MB");
    insert(&bench, Uuid::now_v7()).await.unwrap();
    assert_eq!(bench.notes(id).await, 0);

    batch(format!("BEGIN; {text} COMMIT")).await.unwrap();
    assert_eq!(bench.notes(id).await, 1);
}

/// The connection of a statement that is no read and no change of rows is closed. A write would otherwise be answered
/// within the transaction that somebody else began, and lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn begun_transaction_is_not_shared() {
    let bench = Bench::new().await;
    for text in [
        "BEGIN",
        " begin",
        "-- a comment\nSTART TRANSACTION",
        "/* another */ BEGIN READ ONLY",
    ] {
        sqlx::query(text).execute(&bench.pool).await.unwrap();
        let id = Uuid::now_v7();
        bench.write(id).await.unwrap();
        assert_eq!(bench.notes(id).await, 1, "{text}");
    }
    sqlx::query("SET work_mem = '77MB'").execute(&bench.pool).await.unwrap();
    let set: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_ne!(set, "77MB");
}

/// A connection cannot be held behind a pooler.
#[tokio::test(flavor = "multi_thread")]
async fn pooler_statement_gets_a_transaction() {
    let bench = Bench::with(Settings::default(), "pgbouncer=true").await;
    let id = Uuid::now_v7();
    insert(&bench, id).await.unwrap();
    insert(&bench, id).await.unwrap_err();
    assert_eq!(bench.notes(id).await, 1);
    let limit: String = sqlx::query_scalar("SHOW idle_in_transaction_session_timeout")
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_ne!(limit, "0", "the statement is outside the transaction that sets it");
    let refused = bench.pool.acquire().await.unwrap_err();
    assert!(refused.to_string().contains("pgbouncer=true"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pooler_keeps_no_prepared_statement() {
    let bench = Bench::with(Settings::default(), "pgbouncer=true").await;
    let sql = || AssertSqlSafe("SELECT 1").into_sql_str();
    let mut refused = vec![
        bench.pool.prepare(sql()).await.unwrap_err(),
        bench.pool.describe(sql()).await.unwrap_err(),
    ];
    let mut transaction = bench.pool.begin().await.unwrap();
    refused.push(transaction.prepare(sql()).await.unwrap_err());
    refused.push(transaction.describe(sql()).await.unwrap_err());
    for refused in refused {
        assert!(matches!(refused, sqlx::Error::Configuration(_)), "{refused}");
        assert!(refused.to_string().contains("pgbouncer=true"), "{refused}");
    }
    let prepared: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_prepared_statements")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(prepared, 0);
    transaction.commit().await.unwrap();

    let bench = Bench::new().await;
    bench.pool.prepare(sql()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "tells the second process from the first")]
async fn shared_pool_uses_database_url() {
    if std::env::var_os(WITHIN).is_some() {
        let database: String = sqlx::query_scalar("SELECT current_database()")
            .fetch_one(&SharedPool)
            .await
            .unwrap();
        let transaction = SharedPool.begin().await.unwrap();
        transaction.commit().await.unwrap();
        SharedPool.acquire().await.unwrap().close().await.unwrap();
        return println!("in {database}");
    }
    let bench = Bench::new().await;
    let run = |url: String| {
        let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "executor::shared_pool_uses_database_url", "--nocapture"]);
        again.env(WITHIN, "1").env("DATABASE_URL", url).kill_on_drop(true);
        async move { again.output().await.unwrap() }
    };
    let good = run(bench.cluster.url()).await;
    assert!(String::from_utf8_lossy(&good.stdout).contains("in seer"), "{good:?}");
    let bad = run("postgres://seer@localhost/seer?schemer=1".to_owned()).await;
    assert!(String::from_utf8_lossy(&bad.stderr).contains("schemer"), "{bad:?}");
}
