//! A lost reply to COMMIT is found out, never guessed; a key is answered once.

use local::proxy::Cut;
use shared::db::{Claim, Deadline, Session, Written};
use uuid::Uuid;

use super::bench::{Bench, PLENTY, one, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_commit_was_cut_is_there_exactly_once_and_acknowledged() {
    let bench = Bench::new().await;
    for cut in [Cut::BeforeServer, Cut::AfterServer, Cut::BeforeAcknowledgement] {
        for round in 0..5 {
            let id = Uuid::now_v7();
            bench.proxy.cut_commits(cut, 1);
            let written = bench.write(id).await.unwrap();
            assert!(
                matches!(written, Written::Done(done) if done == id),
                "{cut:?}, round {round}"
            );
            assert_eq!(bench.notes(id).await, 1, "{cut:?}, round {round}");
        }
    }
    assert_eq!(bench.proxy.counts().cut, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_commits_are_cut_again_and_again_still_ends_well() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    bench.proxy.cut_commits(Cut::BeforeServer, 3);
    bench.write(id).await.unwrap();
    assert_eq!(bench.notes(id).await, 1);
    assert_eq!(bench.proxy.counts().cut, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_found_out_across_a_crash_of_the_server() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    bench.proxy.cut_commits(Cut::BeforeAcknowledgement, 1);
    let (written, ()) = tokio::join!(bench.write(id), async {
        until("it was cut", async || bench.proxy.counts().cut > 0).await;
        bench.cluster.kill().await.unwrap();
        bench.cluster.start().await.unwrap();
    });
    assert!(matches!(written.unwrap(), Written::Done(done) if done == id));
    assert_eq!(bench.notes(id).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replayed_for_the_same_request_and_refused_for_another() {
    let bench = Bench::new().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let claim = Claim::keyed("caller", "key", &[b"body"]);
    assert!(matches!(
        bench.write_under(&claim, first).await.unwrap(),
        Written::Done(_)
    ));
    let again = bench.write_under(&claim, second).await.unwrap();
    assert!(matches!(again, Written::Replayed(saved) if saved == first.as_bytes()));
    let other = Claim::keyed("caller", "key", &[b"another body"]);
    assert!(matches!(
        bench.write_under(&other, second).await.unwrap(),
        Written::Reused
    ));
    assert_eq!(bench.notes(second).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_may_be_used_again_and_expired_receipts_are_cleared_away() {
    let bench = Bench::new().await;
    let claim = Claim::keyed("caller", "key", &[b"body"]);
    bench.write_under(&claim, Uuid::now_v7()).await.unwrap();
    bench.expire_receipts().await;
    let id = Uuid::now_v7();
    assert!(matches!(bench.write_under(&claim, id).await.unwrap(), Written::Done(done) if done == id));
    bench.expire_receipts().await;
    bench.write(Uuid::now_v7()).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM idempotency_keys").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_being_worked_on_is_reported_and_not_waited_for() {
    let bench = Bench::new().await;
    let claim = Claim::keyed("caller", "key", &[b"body"]);
    let mut direct = bench.direct().await;
    // The other transaction: it holds what the claim's BEGIN asks for.
    sqlx::raw_sql("BEGIN").execute(&mut direct).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "SELECT pg_advisory_xact_lock({})",
        claim.lock()
    )))
    .execute(&mut direct)
    .await
    .unwrap();
    assert!(matches!(
        bench.write_under(&claim, Uuid::now_v7()).await.unwrap(),
        Written::Running
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_write_run_again_waits_for_its_lost_attempt_to_end() {
    let bench = Bench::new().await;
    let claim = Claim::keyed("caller", "key", &[b"body"]);
    let mut other = bench.direct().await;
    let other_id: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut other)
        .await
        .unwrap();
    let first = std::sync::Mutex::new(Some(other));
    let work = async |db: &mut Session| {
        let other = first.lock().unwrap().take();
        // The first attempt is lost, and the server holds its lock still: here, through another session.
        if let Some(mut other) = other {
            bench.terminate_sessions().await;
            let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(claim.lock());
            lock.execute(&mut other).await.unwrap();
            std::mem::forget(other);
        }
        one(db).await
    };
    let write = bench
        .pool
        .write(Deadline::after(PLENTY), &claim, work, |_| Ok(Vec::new()));
    tokio::pin!(write);
    let locks = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let waiting = until("it waits", async || bench.count(locks).await > 0);
    tokio::select! {
        early = &mut write => panic!("it did not wait: {early:?}"),
        () = waiting => {}
    }
    bench
        .sql(&format!("SELECT pg_terminate_backend({other_id}, 5000)"))
        .await;
    assert!(matches!(write.await.unwrap(), Written::Done(1)));
}
