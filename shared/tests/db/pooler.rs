//! Behind PgBouncer: statements that it keeps, and unknown users, passwords and databases.

use std::time::Duration;

use local::postgres::Pooler;
use local::proxy::{Cut, Effect, Proxy, Statements};
use shared::db::{Abort, Deadline, IdempotencyKey, Kind};
use uuid::Uuid;

use super::bench::{Bench, PLENTY, Refusal, note, one, pool};

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_refusal_fails_at_once() {
    if Pooler::find().is_none() {
        return eprintln!("skipped: pgbouncer is not installed");
    }
    let bench = Bench::new().await;
    let (user, password) = ("seer", bench.cluster.password());
    let pooler = Pooler::start(&bench.cluster, user, password, 2).await.unwrap();
    let address = pooler.address();
    for (user, password, database, expected) in [
        (user, password, "seer", None),
        (user, "wrong", "seer", Some(Kind::Auth)),
        ("stranger", password, "seer", Some(Kind::Auth)),
        (user, password, "absent", Some(Kind::NoDatabase)),
        (user, "wrong", "absent", Some(Kind::Auth)),
    ] {
        let through = pool(
            &format!("postgres://{user}:{password}@{address}/{database}"),
            "pgbouncer=true",
        );
        let read = through.read(Deadline::after(PLENTY), async |db| one(db).await).await;
        let Err(refused) = read else {
            assert_eq!(expected, None, "{user} was let in");
            continue;
        };
        let refused = refused.0;
        assert_eq!(Some(refused.kind), expected, "{refused}");
        assert!(refused.attempts <= 2, "{refused}");
    }
}

/// Returns a bench whose pool connects through the proxy to a PgBouncer that keeps statements.
async fn keeping_statements() -> Option<(Bench, Pooler)> {
    if Pooler::find_with_prepared_statements().is_none() {
        eprintln!("skipped: pgbouncer 1.21 or newer is not there");
        return None;
    }
    let bench = Bench::new().await;
    let (user, password) = ("seer", bench.cluster.password());
    let pooler = Pooler::start_with_prepared_statements(&bench.cluster, user, password, 2)
        .await
        .unwrap();
    let proxy = Proxy::start(pooler.address()).await.unwrap();
    let url = format!("postgres://{user}:{password}@{}/seer", proxy.address());
    let pool = pool(&url, "pgbouncer=true&statement_cache_size=100");
    Some((Bench { proxy, pool, ..bench }, pooler))
}

/// For the first request after INIT, for the next, and after a second without use.
#[tokio::test(flavor = "multi_thread")]
async fn kept_statement_is_one_round_trip() {
    let Some((bench, _pooler)) = keeping_statements().await else {
        return;
    };
    let init = Deadline::after(PLENTY);
    bench.pool.connect_during_init(init).await.unwrap();
    bench.pool.rehearse(init, async |db| one(db).await).await;
    bench.pool.rehearse_write(init, &Uuid::now_v7(), note).await;
    // A sweep of expired receipts follows one write in fifty, and is not counted.
    let sweeps = Statements::Containing("sweep_receipts");
    bench.proxy.order(sweeps, [Effect::Nothing; 3]);
    for usage in ["first", "fresh", "idle"] {
        if usage == "idle" {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        let before = bench.proxy.counts();
        bench.read().await.unwrap();
        assert_eq!(bench.proxy.counts().ready - before.ready, 1, "{usage}");
        bench.write_once(&IdempotencyKey::generated(), usage).await;
        let now = bench.proxy.counts();
        assert_eq!((now.ready - before.ready) - (now.cut - before.cut), 2, "{usage}");
    }
    assert_eq!(bench.proxy.counts().opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pooler_lost_reply_is_applied_once() {
    let Some((bench, _pooler)) = keeping_statements().await else {
        return;
    };
    for cut in [Cut::BeforeServer, Cut::AfterServer, Cut::BeforeAcknowledgement] {
        let id = Uuid::now_v7();
        bench.cut_writes(cut, 1);
        bench.write(id).await.unwrap();
        assert_eq!(bench.notes(id).await, 1, "{cut:?}");
    }
    assert_eq!(bench.proxy.counts().cut, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_kept_statement_is_replaced() {
    let Some((bench, _pooler)) = keeping_statements().await else {
        return;
    };
    let read = || async {
        let read = bench.pool.read(Deadline::after(PLENTY), async |db| {
            let rows = sqlx::query("SELECT * FROM notes").fetch_all(db).await?;
            Ok::<_, Abort<Refusal>>(rows.len())
        });
        read.await
    };
    assert_eq!(read().await.unwrap(), 0);
    bench.sql("ALTER TABLE notes ADD COLUMN more text").await;
    assert_eq!(read().await.unwrap(), 0);
    assert_eq!(read().await.unwrap(), 0);
}
