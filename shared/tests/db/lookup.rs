//! The lookup after a lost reply to COMMIT: its result, its connection, and its time limit.

use std::time::Duration;

use local::postgres::{Replication, Settings};
use local::proxy::{Admission, Cut, Effect, Statements};
use shared::config::DatabaseUrl;
use shared::db::{Deadline, Error, IdempotencyKey, Kind, Phase, Written, migrate};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::bench::{Bench, NOTES, PLENTY, Refusal, WRITES, pool, until};

/// From now on COMMIT of a transaction that wrote a note waits until this session is closed.
async fn held_commits(bench: &Bench) -> PgConnection {
    bench
        .sql(
            "CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;\
             CREATE CONSTRAINT TRIGGER held AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION held()",
        )
        .await;
    let mut holder = bench.direct().await;
    sqlx::raw_sql("SELECT pg_advisory_lock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    holder
}

async fn write_within(bench: &Bench, budget: Duration, id: Uuid) -> Result<Written<Uuid, Refusal>, Error> {
    let key = IdempotencyKey::generated();
    bench.write_within(Deadline::after(budget), &key, id).await
}

/// Waits until a statement waits for one that waits for the commit.
async fn second_waits(bench: &Bench) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    until("a second statement waits", async || bench.count(waiting).await > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_commit_is_waited_for() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    let holder = held_commits(&bench).await;
    bench.read().await.unwrap();
    bench.cut_writes(Cut::AfterServer, 1);
    let write = write_within(&bench, PLENTY, id);
    tokio::pin!(write);
    tokio::select! {
        early = &mut write => panic!("it did not wait: {early:?}"),
        () = second_waits(&bench) => {}
    }
    holder.close().await.unwrap();
    assert!(matches!(write.await.unwrap(), Written::Done(done) if done == id));
    assert_eq!(bench.notes(id).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_commit_gets_a_tombstone() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    let holder = held_commits(&bench).await;
    bench.read().await.unwrap();
    let write = write_within(&bench, Duration::from_secs(8), id);
    tokio::pin!(write);
    tokio::select! {
        early = &mut write => panic!("no tombstone was tried: {early:?}"),
        () = second_waits(&bench) => {}
    }
    holder.close().await.unwrap();
    assert!(matches!(write.await.unwrap(), Written::Done(done) if done == id));
    assert_eq!(bench.notes(id).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_receipt_proves_no_commit() {
    let bench = Bench::new().await;
    let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
    bench.write_under(&key, Uuid::now_v7()).await.unwrap();
    bench.expire_receipts().await;
    for cut in [Cut::BeforeServer, Cut::BeforeAcknowledgement] {
        bench.cut_writes(cut, 1);
        bench.write_once(&key, cut).await;
        bench.expire_receipts().await;
    }
    assert_eq!(bench.proxy.counts().cut, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pooler_receipt_lookup_finds_schema() {
    let bench = Bench::new().await;
    let elsewhere = format!("{}?schema=elsewhere", bench.cluster.url());
    migrate::migrate(&DatabaseUrl::parse(&elsewhere).unwrap(), &NOTES)
        .await
        .unwrap();
    let bench = Bench {
        pool: pool(
            &bench.proxy.url(&bench.cluster.url()),
            "pgbouncer=true&schema=elsewhere",
        ),
        ..bench
    };
    bench.sql("ALTER TABLE notes SET SCHEMA elsewhere").await;
    let id = Uuid::now_v7();
    // Behind a pooler with a schema a write is a transaction.
    bench.proxy.cut_commits(Cut::BeforeAcknowledgement, 1);
    assert!(matches!(bench.write(id).await.unwrap(), Written::Done(done) if done == id));
    let noted = format!("SELECT count(*) FROM elsewhere.notes WHERE id = '{id}'");
    assert_eq!(bench.count(&noted).await, 1);
    assert_eq!(bench.proxy.counts().cut, 1);
}

/// A later request with the same key resolves it.
#[tokio::test(flavor = "multi_thread")]
async fn unresolved_commit_is_unknown() {
    let bench = Bench::with(Settings::default(), "pool_timeout=1&connect_timeout=1").await;
    for (number, (cut, applied)) in [(Cut::BeforeAcknowledgement, true), (Cut::BeforeServer, false)]
        .into_iter()
        .enumerate()
    {
        let (first, again) = (Uuid::now_v7(), Uuid::now_v7());
        let key = IdempotencyKey::from_client("caller", &number.to_string(), &[b"body"]);
        bench.read().await.unwrap();
        // The connection at hand remains usable; no other can be opened.
        bench.proxy.set_admission(Admission::Refused).await;
        bench.cut_writes(cut, 1);
        let unknown = bench
            .write_within(Deadline::after(Duration::from_secs(4)), &key, first)
            .await;
        let unknown = unknown.unwrap_err();
        assert_eq!(
            (unknown.kind, unknown.phase),
            (Kind::CommitUnknown, Phase::Commit),
            "{unknown}"
        );
        assert_eq!(bench.notes(first).await == 1, applied, "{cut:?}");

        bench.proxy.set_admission(Admission::Open).await;
        let written = loop {
            if let Ok(written) = bench.write_under(&key, again).await {
                break written;
            }
        };
        match written {
            Written::Replayed(_, Ok(saved)) => assert!(applied && saved == first, "{cut:?}"),
            Written::Done(done) => assert!(!applied && done == again, "{cut:?}"),
            other @ (Written::Replayed(_, Err(_)) | Written::KeyReused) => panic!("{cut:?}: {other:?}"),
        }
        assert_eq!(bench.notes(first).await + bench.notes(again).await, 1, "{cut:?}");
    }
}

/// It waits for the end of an outage until the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn commit_lookup_outlasts_pool_timeout() {
    for cut in [Cut::BeforeServer, Cut::BeforeAcknowledgement] {
        let bench = Bench::with(Settings::default(), "pool_timeout=1&connect_timeout=1").await;
        let id = Uuid::now_v7();
        bench.read().await.unwrap();
        bench.proxy.set_admission(Admission::Refused).await;
        bench.cut_writes(cut, 1);
        let (written, ()) = tokio::join!(bench.write(id), async {
            until("it was cut", async || bench.proxy.counts().cut > 0).await;
            // Without an attempt: the outage's budget is spent.
            until("everybody is refused at once", async || {
                bench.read().await.is_err_and(|refused| refused.attempts == 0)
            })
            .await;
            bench.proxy.set_admission(Admission::Open).await;
        });
        assert!(matches!(written.unwrap(), Written::Done(done) if done == id), "{cut:?}");
        assert_eq!(bench.notes(id).await, 1, "{cut:?}");
    }
}

/// A refusal is final once the tombstone is there, even if that takes until the end of an outage.
#[tokio::test(flavor = "multi_thread")]
async fn tombstone_outlasts_pool_timeout() {
    let bench = Bench::with(Settings::default(), "pool_timeout=1&connect_timeout=1").await;
    let id = Uuid::now_v7();
    bench.write(id).await.unwrap();
    let (lost, held) = (
        Effect::Cut(Cut::BeforeServer),
        Effect::LateReply(Duration::from_millis(200)),
    );
    // Sent again, the write violates the primary key.
    bench.proxy.order(WRITES, [lost, held]);
    bench
        .proxy
        .order(Statements::Containing("INSERT INTO receipts AS"), [lost]);
    let opened = bench.proxy.counts().opened;
    let (refused, ()) = tokio::join!(bench.write(id), async {
        until("it is sent again", async || bench.proxy.counts().opened > opened).await;
        bench.proxy.set_admission(Admission::Refused).await;
        until("the tombstone is lost", async || bench.proxy.counts().cut == 2).await;
        until("everybody is refused at once", async || {
            bench.read().await.is_err_and(|refused| refused.attempts == 0)
        })
        .await;
        bench.proxy.set_admission(Admission::Open).await;
    });
    let refused = refused.unwrap_err();
    assert_eq!(refused.sqlstate.as_deref(), Some("23505"), "{refused}");
    assert_eq!(bench.notes(id).await, 1);
}

/// Returns a bench whose pool logs in as the role `other`, which `create` makes with the password `other`.
async fn logged_in_as_other(create: &str) -> Bench {
    let bench = Bench::new().await;
    bench.sql(create).await;
    let theirs = bench.cluster.url().replacen(bench.cluster.password(), "other", 1);
    let theirs = bench.proxy.url(&theirs.replacen("seer:", "other:", 1));
    Bench {
        pool: pool(&theirs, ""),
        ..bench
    }
}

/// Returns the error of a write whose outcome is unknown. Fails if it waits for its deadline.
async fn unknown_at_once(bench: &Bench) -> Error {
    let write = write_within(bench, 4 * PLENTY, Uuid::now_v7());
    let unknown = tokio::time::timeout(PLENTY, write).await.unwrap().unwrap_err();
    assert_eq!(unknown.kind, Kind::CommitUnknown, "{unknown}");
    unknown
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_lookup_is_not_waited_for() {
    let bench = logged_in_as_other("CREATE ROLE other LOGIN SUPERUSER PASSWORD 'other'").await;
    bench.read().await.unwrap();
    bench.sql("ALTER ROLE other NOLOGIN").await;
    bench.cut_writes(Cut::BeforeAcknowledgement, 1);
    let unknown = unknown_at_once(&bench).await;
    assert!(unknown.to_string().contains("not permitted to log in"), "{unknown}");
}

/// Without the right to insert receipts no tombstone is possible, now or later.
#[tokio::test(flavor = "multi_thread")]
async fn refused_tombstone_is_not_waited_for() {
    let bench = logged_in_as_other(
        "CREATE ROLE other LOGIN PASSWORD 'other'; GRANT SELECT, INSERT ON notes TO other; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON receipts, audit TO other",
    )
    .await;
    bench.write(Uuid::now_v7()).await.unwrap();
    bench.sql("REVOKE INSERT ON receipts FROM other").await;
    bench.cut_writes(Cut::BeforeServer, 1);
    let unknown = unknown_at_once(&bench).await;
    assert!(unknown.to_string().contains("permission denied"), "{unknown}");
}

/// The key's receipt is of an earlier request, even if the reply to the lookup is lost.
#[tokio::test(flavor = "multi_thread")]
async fn lost_lookup_is_still_a_replay() {
    let bench = Bench::new().await;
    let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
    let (first, again) = (Uuid::now_v7(), Uuid::now_v7());
    bench.write_under(&key, first).await.unwrap();
    let look = Statements::Containing("FROM receipts WHERE key = '");
    bench.proxy.order(look, [Effect::Cut(Cut::BeforeAcknowledgement)]);
    let replayed = bench.write_under(&key, again).await.unwrap();
    assert!(
        matches!(replayed, Written::Replayed(_, Ok(id)) if id == first),
        "{replayed:?}"
    );
    assert_eq!(bench.proxy.counts().cut, 1);
    assert_eq!(bench.notes(again).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lagging_standby_is_not_asked() {
    let bench = Bench::new().await;
    let standby = bench
        .cluster
        .standby("lagging", Replication::Asynchronous)
        .await
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "past the pool is the point")]
    let mut direct = PgConnection::connect(&standby.url()).await.unwrap();
    sqlx::raw_sql("SELECT pg_wal_replay_pause()")
        .execute(&mut direct)
        .await
        .unwrap();
    let paused = async |direct: &mut PgConnection| {
        let state = sqlx::query_scalar::<_, String>("SELECT pg_get_wal_replay_pause_state()");
        state.fetch_one(direct).await.unwrap() == "paused"
    };
    until("the standby paused", async || paused(&mut direct).await).await;
    bench.read().await.unwrap();
    let id = Uuid::now_v7();
    let primary = std::net::SocketAddr::from(([127, 0, 0, 1], bench.cluster.port()));
    bench
        .proxy
        .redirect(std::net::SocketAddr::from(([127, 0, 0, 1], standby.port())));
    bench.cut_writes(Cut::BeforeAcknowledgement, 1);
    let (written, ()) = tokio::join!(bench.write(id), async {
        until("it was at the standby twice", async || bench.proxy.counts().opened > 2).await;
        bench.proxy.redirect(primary);
    });
    assert!(matches!(written.unwrap(), Written::Done(done) if done == id));
    assert_eq!(bench.notes(id).await, 1);
}

/// Cancelling a COMMIT that waits for a standby would report it as done.
#[tokio::test(flavor = "multi_thread")]
async fn standby_wait_is_never_a_success() {
    // A statement may take a second, but the COMMIT is awaited for longer.
    let bench = Bench::with(Settings::default(), "socket_timeout=1").await;
    bench.cluster.set("synchronous_standby_names", "nobody").await.unwrap();
    bench.cluster.reload().await.unwrap();
    // The server has applied the setting once a session waits.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let mut other = tokio::spawn(std::future::ready(Ok(())));
    until("a COMMIT waits", async || {
        if other.is_finished() {
            let mut direct = bench.direct().await;
            other = tokio::spawn(async move {
                let sql = "CREATE TABLE IF NOT EXISTS others (); DROP TABLE others";
                sqlx::raw_sql(sql).execute(&mut direct).await.map(drop)
            });
        }
        bench.count(waiting).await > 0
    })
    .await;
    let answer = write_within(&bench, Duration::from_secs(4), Uuid::now_v7()).await;
    assert_eq!(answer.unwrap_err().kind, Kind::CommitUnknown);
}
