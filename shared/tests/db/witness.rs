//! A path that acknowledges and delivers nothing: without a witness, only a statement timeout of ten minutes ends the
//! wait in these tests.

use local::postgres::Settings;
use local::proxy::{Cut, Effect, Statements};
use shared::db::{Abort, Deadline, IdempotencyKey, Session, Written};
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;

use super::bench::{Bench, PLENTY, Refusal, note, replayed, until};

const PLACES: [Cut; 4] = [
    Cut::BeforeServer,
    Cut::BeforeSync,
    Cut::AfterServer,
    Cut::BeforeAcknowledgement,
];

async fn bench() -> Bench {
    Bench::with(Settings::default(), "socket_timeout=600").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_hung_while_idle_is_left() {
    let bench = bench().await;
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.hang(), 1);
    assert_eq!(bench.read().await.unwrap(), 1);
    assert_eq!(bench.proxy.hang(), 2);
    let id = Uuid::now_v7();
    assert!(matches!(bench.write(id).await.unwrap(), Written::Done(done) if done == id));
    assert_eq!(bench.notes(id).await, 1);
    assert_eq!(bench.proxy.counts().opened, 3);
    until("the dead sessions are ended", async || bench.sessions().await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_on_a_hung_path_is_answered() {
    for place in PLACES {
        let bench = bench().await;
        bench.read().await.unwrap();
        bench
            .proxy
            .order(Statements::Containing("SELECT 1"), [Effect::Hang(place)]);
        assert_eq!(bench.read().await.unwrap(), 1, "{place:?}");
        assert_eq!(bench.proxy.counts().cut, 1, "{place:?}");
        assert_eq!(bench.proxy.counts().opened, 2, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_a_hung_path_is_applied_once() {
    for place in PLACES {
        let bench = bench().await;
        bench.write(Uuid::now_v7()).await.unwrap();
        bench
            .proxy
            .order(Statements::Containing("known AS ("), [Effect::Hang(place)]);
        let id = Uuid::now_v7();
        let written = bench.write(id).await.unwrap();
        assert!(
            matches!(written, Written::Done(done) if done == id),
            "{place:?}: {written:?}"
        );
        assert_eq!(bench.notes(id).await, 1, "{place:?}");
        assert_eq!(bench.proxy.counts().cut, 1, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_on_a_hung_path_is_final() {
    for place in PLACES {
        let bench = bench().await;
        let id = Uuid::now_v7();
        bench.write(id).await.unwrap();
        bench
            .proxy
            .order(Statements::Containing("known AS ("), [Effect::Hang(place)]);
        // The same row under another key: the primary key refuses it.
        let refused = bench.write(id).await.unwrap_err();
        assert_eq!(refused.sqlstate.as_deref(), Some("23505"), "{place:?}: {refused}");
        assert_eq!(bench.notes(id).await, 1, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_works_is_left_alone() {
    let bench = bench().await;
    bench.read().await.unwrap();
    let slow = bench.pool.read(Deadline::after(PLENTY), async |db: &mut Session| {
        sqlx::query("SELECT pg_sleep(1.5)").execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    });
    slow.await.unwrap();
    // The witness came and went; the session is the same.
    assert_eq!(bench.proxy.counts().opened, 2);
    until("one session is left", async || bench.sessions().await == 1).await;
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_waits_for_a_lock_is_left_alone() {
    let bench = bench().await;
    bench.write(Uuid::now_v7()).await.unwrap();
    let mut holder = bench.direct().await;
    let lock = "BEGIN; LOCK TABLE notes IN EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let id = Uuid::now_v7();
    let key = IdempotencyKey::generated();
    let write = bench.pool.write(Deadline::after(PLENTY), &key, &id, note, replayed);
    tokio::pin!(write);
    tokio::select! {
        early = &mut write => panic!("it did not wait: {early:?}"),
        () = until("a witness came and went", async || {
            bench.proxy.counts().opened == 2 && bench.sessions().await == 1
        }) => {}
    }
    sqlx::raw_sql(AssertSqlSafe("ROLLBACK"))
        .execute(&mut holder)
        .await
        .unwrap();
    holder.close().await.unwrap();
    assert!(matches!(write.await, Ok(Written::Done(done)) if done == id));
    assert_eq!(bench.proxy.counts().opened, 2);
}
