//! A write is applied exactly once, however often it is sent, and a key is answered once.

use std::fmt::Debug;
use std::pin::{Pin, pin};

use local::proxy::{self, Cut, Effect};
use shared::db::{Abort, Change, Deadline, Error, IdempotencyKey, Kind, Phase, Session, WriteAttempt, Written};
use shared::write_query_unchecked;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use super::bench::{Bench, CUTS, PLENTY, Refusal, WRITES, replayed, until};

#[tokio::test(flavor = "multi_thread")]
async fn cut_writes_are_applied_exactly_once() {
    let bench = Bench::new().await;
    for cut in CUTS {
        for round in 0..5 {
            bench.cut_writes(cut, 1);
            bench.write_once(&IdempotencyKey::generated(), (cut, round)).await;
        }
    }
    assert_eq!(bench.proxy.counts().cut, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn fatal_error_reply_decides_nothing() {
    let bench = Bench::new().await;
    for (sqlstate, message) in [
        ("XX000", "DbHandler exited"),
        ("58000", "error receiving data from server"),
        ("08P01", "server conn crashed?"),
        ("40001", "terminating connection due to conflict with recovery"),
    ] {
        let refusal = proxy::Refusal { sqlstate, message };
        bench.proxy.order(WRITES, [Effect::Fatal(refusal)]);
        bench.write_once(&IdempotencyKey::generated(), sqlstate).await;
    }
    assert_eq!(bench.proxy.counts().cut, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn thrice_cut_write_is_applied_once() {
    let bench = Bench::new().await;
    for cut in CUTS {
        let id = Uuid::now_v7();
        bench.cut_writes(cut, 3);
        bench.write(id).await.unwrap();
        assert_eq!(bench.notes(id).await, 1, "{cut:?}");
    }
    assert_eq!(bench.proxy.counts().cut, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_after_lost_reply_is_harmless() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    bench.cut_writes(Cut::BeforeAcknowledgement, 1);
    let (written, ()) = tokio::join!(bench.write(id), async {
        until("it was cut", async || bench.proxy.counts().cut > 0).await;
        bench.cluster.kill().await.unwrap();
        bench.cluster.start().await.unwrap();
    });
    assert!(matches!(written.unwrap(), Written::Done(done) if done == id));
    assert_eq!(bench.notes(id).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_replays_only_its_own_request() {
    let bench = Bench::new().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
    assert!(matches!(
        bench.write_under(&key, first).await.unwrap(),
        Written::Done(_)
    ));
    let again = bench.write_under(&key, second).await.unwrap();
    assert!(matches!(again, Written::Replayed(receipt, Ok(id)) if id == first && receipt.status == 201));
    let other = IdempotencyKey::from_client("caller", "key", &[b"another body"]);
    assert!(matches!(
        bench.write_under(&other, second).await.unwrap(),
        Written::KeyReused
    ));
    assert_eq!(bench.notes(second).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_key_is_reusable() {
    let bench = Bench::new().await;
    let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
    bench.write_under(&key, Uuid::now_v7()).await.unwrap();
    bench.expire_receipts().await;
    let id = Uuid::now_v7();
    assert!(matches!(bench.write_under(&key, id).await.unwrap(), Written::Done(done) if done == id));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_write_in_fifty_sweeps_receipts() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.write(Uuid::now_v7()).await.unwrap();
    }
    bench.expire_receipts().await;
    let before = bench.proxy.counts().ready;
    for _ in 0..50 {
        bench.write(Uuid::now_v7()).await.unwrap();
    }
    assert_eq!(bench.proxy.counts().ready - before, 51);
    assert_eq!(
        bench
            .count("SELECT count(*) FROM receipts WHERE expires_at <= now()")
            .await,
        0
    );
    assert_eq!(bench.count("SELECT count(*) FROM receipts").await, 50);
}

/// Writes a note, and takes the write back to where it was not committed: `undone` undoes its change, and an open
/// transaction has put its receipt under the key and `redone` the change.
async fn open_transaction(bench: &Bench, key: &IdempotencyKey, id: Uuid, undone: &str, redone: &str) -> PgConnection {
    bench.write_under(key, id).await.unwrap();
    let mut other = bench.direct().await;
    for sql in [
        format!("CREATE TABLE kept AS SELECT * FROM receipts; DELETE FROM receipts; {undone}"),
        format!("BEGIN; {redone}; INSERT INTO receipts SELECT * FROM kept"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut other).await.unwrap();
    }
    other
}

/// Waits until a write waits for another session's transaction, and ends that.
async fn waits_for<T: Debug>(
    bench: &Bench,
    write: Pin<&mut impl Future<Output = T>>,
    mut other: PgConnection,
    end: &str,
) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    tokio::select! {
        early = write => panic!("it did not wait: {early:?}"),
        () = until("it waits", async || bench.count(waiting).await > 0) => {}
    }
    sqlx::raw_sql(AssertSqlSafe(end.to_owned()))
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_key_serialize() {
    for commits in [true, false] {
        let bench = Bench::new().await;
        let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let other = open_transaction(&bench, &key, first, "DELETE FROM notes", "").await;
        let mut write = pin!(bench.write_under(&key, second));
        let end = if commits { "COMMIT" } else { "ROLLBACK" };
        waits_for(&bench, write.as_mut(), other, end).await;
        let written = write.await.unwrap();
        if commits {
            assert!(
                matches!(written, Written::Replayed(_, Ok(id)) if id == first),
                "{written:?}"
            );
        } else {
            assert!(matches!(written, Written::Done(id) if id == second), "{written:?}");
        }
        assert_eq!(bench.notes(second).await, i64::from(!commits));
    }
}

/// Renames a note that still has its first text, and rejects the others.
async fn renamed(db: &mut Session, attempt: &WriteAttempt, id: &Uuid) -> Result<Uuid, Abort<Refusal>> {
    let row = write_query_unchecked!(
        attempt,
        "seen AS (
            SELECT n.text = 'text' AS first FROM known JOIN notes n ON n.id = $5 AND clear FOR UPDATE OF n
        ), renamed AS (
            UPDATE notes SET text = 'renamed' FROM seen WHERE id = $5 AND first RETURNING id
        ), changed AS (
            SELECT 'note' AS kind, id, NULL::integer AS version, 200 AS status FROM renamed
        )",
        "renamed.id FROM known LEFT JOIN renamed ON true"
    )
    .bind(id)
    .fetch_one(db)
    .await?;
    attempt.check_row(&row)?;
    let rejection = || Abort::Rejected(Refusal(Error::bare(Kind::Query, Phase::Statement)));
    row.try_get::<Option<_>, _>("id")?.ok_or_else(rejection)
}

/// The second request starts before the first is committed: it waits for the row, and finds it renamed.
#[tokio::test(flavor = "multi_thread")]
async fn rejection_by_first_request_is_a_replay() {
    let bench = Bench::new().await;
    let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
    let id = Uuid::now_v7();
    let first = open_transaction(&bench, &key, id, "", "UPDATE notes SET text = 'renamed'").await;
    let mut second = pin!(bench.pool.write(Deadline::after(PLENTY), &key, &id, renamed, replayed));
    waits_for(&bench, second.as_mut(), first, "COMMIT").await;
    let written = second.await;
    assert!(
        matches!(written, Ok(Written::Replayed(_, Ok(found))) if found == id),
        "{written:?}"
    );
}

/// A generated key is new, so no earlier request can have used it.
#[tokio::test(flavor = "multi_thread")]
async fn only_rejections_under_a_clients_key_look() {
    let bench = Bench::new().await;
    let rejected = async |key: IdempotencyKey| {
        let before = bench.proxy.counts().ready;
        let deadline = Deadline::after(PLENTY);
        let written = bench
            .pool
            .write(deadline, &key, &Uuid::now_v7(), renamed, replayed)
            .await;
        assert!(matches!(written, Err(Refusal(_))), "{written:?}");
        bench.proxy.counts().ready - before
    };
    let of_client = || IdempotencyKey::from_client("caller", "key", &[b"body"]);
    // Afterwards both statements are prepared.
    rejected(of_client()).await;
    assert_eq!(rejected(IdempotencyKey::generated()).await, 1);
    assert_eq!(rejected(of_client()).await, 2);
}

async fn noted(db: &mut Session, id: &Uuid) -> Result<(Uuid, Option<Change>), Abort<Refusal>> {
    sqlx::query("INSERT INTO notes VALUES ($1, 'text')")
        .bind(id)
        .execute(db)
        .await?;
    let change = Change {
        kind: "note",
        id: *id,
        version: None,
        status: 201,
    };
    Ok((*id, Some(change)))
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_survives_cut_commits() {
    let bench = Bench::new().await;
    for cut in [Cut::BeforeServer, Cut::AfterServer, Cut::BeforeAcknowledgement] {
        let (id, second) = (Uuid::now_v7(), Uuid::now_v7());
        let key = IdempotencyKey::from_client("caller", &format!("{cut:?}"), &[b"body"]);
        bench.proxy.cut_commits(cut, 1);
        let deadline = Deadline::after(PLENTY);
        let written = bench.pool.transact(deadline, &key, &id, noted, replayed).await;
        assert!(
            matches!(written, Ok(Written::Done(done)) if done == id),
            "{cut:?}: {written:?}"
        );
        let again = bench.pool.transact(deadline, &key, &second, noted, replayed).await;
        assert!(
            matches!(again, Ok(Written::Replayed(_, Ok(done))) if done == id),
            "{cut:?}: {again:?}"
        );
        assert_eq!((bench.notes(id).await, bench.notes(second).await), (1, 0), "{cut:?}");
    }
    assert_eq!(bench.proxy.counts().cut, 3);
}
