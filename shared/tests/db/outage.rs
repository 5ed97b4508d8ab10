//! A database that cannot be reached, and one that recovers.

use std::net::SocketAddr;
use std::time::Duration;

use local::postgres::{Cluster, Replication, Settings, Shutdown};
use local::proxy::{Admission, Proxy};
use shared::db::{Abort, Deadline, Error, Kind, Phase, Pool, Written};
use tokio::sync::Notify;
use uuid::Uuid;

use super::bench::{Bench, PLENTY, Refusal, one, pool, until};

#[tokio::test(flavor = "multi_thread")]
async fn connect_failure_keeps_its_cause() {
    let bench = Bench::with(Default::default(), "pool_timeout=1&connect_timeout=1").await;
    for (admission, kind) in [
        (Admission::Refused, Kind::Refused),
        (Admission::Dropped, Kind::Timeout),
        (Admission::Reset, Kind::Lost),
    ] {
        bench.proxy.set_admission(admission).await;
        // A separate pool, because the other one would remember an earlier outage.
        let fresh = pool(
            &bench.proxy.url(&bench.cluster.url()),
            "pool_timeout=1&connect_timeout=1",
        );
        let failed = fresh
            .read(Deadline::after(PLENTY), async |db| one(db).await)
            .await
            .unwrap_err()
            .0;
        assert_eq!(
            (failed.kind, failed.phase),
            (kind, Phase::Connect),
            "{admission:?}: {failed}"
        );
        assert!(
            failed.to_string().contains(&bench.proxy.address().to_string()),
            "{failed}"
        );
    }
    let wrong = bench.cluster.url().replace(bench.cluster.password(), "wrong");
    let failed = pool(&wrong, "")
        .read(Deadline::after(PLENTY), async |db| one(db).await)
        .await
        .unwrap_err()
        .0;
    assert_eq!(failed.kind, Kind::Auth);
    assert!(!failed.to_string().contains("wrong"), "{failed}");
    let nowhere = pool("postgres://u:p@no-such-host.invalid:5432/d", "pool_timeout=1");
    let failed = nowhere
        .read(Deadline::after(PLENTY), async |db| one(db).await)
        .await
        .unwrap_err()
        .0;
    assert_eq!(failed.kind, Kind::Unresolvable);
}

#[tokio::test(flavor = "multi_thread")]
async fn option_refusing_proxy_is_a_pooler() {
    let bench = Bench::new().await;
    // RDS Proxy's answer to `options`, at the first statement instead of the start-up.
    bench
        .sql(
            "CREATE SCHEMA proxy;
             CREATE FUNCTION proxy.pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                 RAISE 'Feature not supported: RDS Proxy currently doesn''t support command-line options'
                     USING ERRCODE = '0A000';
             END $$;
             ALTER ROLE CURRENT_USER SET search_path = proxy, pg_catalog",
        )
        .await;
    let refused = bench.read().await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.phase),
        (Kind::Pooler, Phase::Connect),
        "{refused}"
    );
    let told = pool(&bench.proxy.url(&bench.cluster.url()), "pgbouncer=true");
    let read = told.read(Deadline::after(PLENTY), async |db| one(db).await);
    let refused = read.await.unwrap_err().0;
    assert!(!refused.to_string().contains("add pgbouncer=true"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_denial_is_no_schema_error() {
    let bench = Bench::new().await;
    bench
        .sql("CREATE ROLE guest LOGIN PASSWORD 'guest'; REVOKE CONNECT ON DATABASE seer FROM PUBLIC")
        .await;
    let address = bench.proxy.address();
    let guest = pool(&format!("postgres://guest:guest@{address}/seer"), "");
    let read = guest.read(Deadline::after(PLENTY), async |db| one(db).await);
    let refused = read.await.unwrap_err().0;
    assert_eq!(
        (refused.phase, refused.sqlstate.as_deref()),
        (Phase::Connect, Some("42501"))
    );
    let said = refused.to_string();
    assert!(said.contains("GRANT CONNECT") && !said.contains("migrate"), "{said}");
}

/// A read that ends by itself long before anything except its deadline could end it.
async fn read_within(bench: &Bench, budget: Duration) -> Error {
    let read = bench.pool.read(Deadline::after(budget), async |db| one(db).await);
    // A read that outlives its deadline fails here.
    tokio::time::timeout(PLENTY, read).await.unwrap().unwrap_err().0
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_waits_end_at_the_deadline() {
    let bench = Bench::with(Default::default(), "pool_timeout=0&connect_timeout=0").await;
    let (taken, free) = (Notify::new(), Notify::new());
    let holder = bench.pool.read(Deadline::after(4 * PLENTY), async |db| {
        taken.notify_one();
        free.notified().await;
        one(db).await
    });
    let waiter = async {
        taken.notified().await;
        let failed = read_within(&bench, Duration::from_millis(300)).await;
        free.notify_one();
        failed
    };
    let (held, failed) = tokio::join!(holder, waiter);
    held.unwrap();
    assert_eq!((failed.kind, failed.phase), (Kind::Timeout, Phase::Acquire), "{failed}");
    // The environment's own connections are exhausted; the network and the server are not the cause.
    let said = failed.to_string();
    assert!(said.contains("connection_limit") && !said.contains("route"), "{said}");

    bench.proxy.set_admission(Admission::Silent).await;
    bench.proxy.reset();
    let fresh = Bench {
        pool: pool(
            &bench.proxy.url(&bench.cluster.url()),
            "pool_timeout=0&connect_timeout=0",
        ),
        ..bench
    };
    let failed = read_within(&fresh, Duration::from_millis(300)).await;
    assert_eq!((failed.kind, failed.phase), (Kind::Timeout, Phase::Connect), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadline_keeps_the_earlier_cause() {
    let settings = Settings {
        max_connections: 13,
        ..Settings::default()
    };
    let bench = Bench::with(settings, "pool_timeout=5&connect_timeout=0").await;
    let mut others = Vec::new();
    for _ in 0..13 {
        others.push(bench.direct().await);
    }
    let (read, ()) = tokio::join!(bench.read(), async {
        until("it was refused and came again", async || {
            bench.proxy.counts().opened > 1
        })
        .await;
        bench.proxy.set_admission(Admission::Silent).await;
    });
    assert_eq!(read.unwrap_err().kind, Kind::Saturated);
}

/// Until the database is back, no connection is attempted.
#[tokio::test(flavor = "multi_thread")]
async fn spent_outage_answers_at_once() {
    let bench = Bench::with(Default::default(), "pool_timeout=1&connect_timeout=1").await;
    bench.proxy.set_admission(Admission::Refused).await;
    assert!(bench.read().await.unwrap_err().attempts > 1);
    let refused = bench.read().await.unwrap_err();
    assert_eq!((refused.kind, refused.attempts), (Kind::Refused, 0), "{refused}");
    bench.proxy.set_admission(Admission::Open).await;
    until("the database was found again", async || bench.read().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_fails_no_request() {
    let bench = Bench::new().await;
    let restart = async {
        for how in [Shutdown::Immediate, Shutdown::Fast] {
            bench.cluster.stop(how).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            bench.cluster.start().await.unwrap();
        }
    };
    tokio::pin!(restart);
    let mut over = false;
    let mut ids = Vec::new();
    while !over {
        let id = Uuid::now_v7();
        tokio::select! {
            () = &mut restart => over = true,
            () = async {
                bench.read().await.unwrap();
                assert!(matches!(bench.write(id).await.unwrap(), Written::Done(_)));
                ids.push(id);
            } => {}
        }
    }
    for id in ids {
        assert_eq!(bench.notes(id).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn demoted_writer_is_replaced() {
    let bench = Bench::new().await;
    bench.write(Uuid::now_v7()).await.unwrap();
    bench.sql("ALTER SYSTEM SET default_transaction_read_only = on").await;
    bench.sql("SELECT pg_reload_conf()").await;
    let readable = "SELECT (current_setting('default_transaction_read_only') = 'on')::int4::int8";
    until("the server takes no writes", async || bench.count(readable).await == 1).await;
    bench.read().await.unwrap();
    let id = Uuid::now_v7();
    let (written, ()) = tokio::join!(bench.write(id), async {
        // The write has used the reader once it requests another connection.
        until("it came back", async || bench.proxy.counts().opened > 2).await;
        bench.sql("ALTER SYSTEM RESET default_transaction_read_only").await;
        bench.sql("SELECT pg_reload_conf()").await;
    });
    written.unwrap();
    assert_eq!(bench.notes(id).await, 1);
}

/// It refuses writes without using up the request's time.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_server_serves_reads() {
    let bench = Bench::with(Default::default(), "pool_timeout=4").await;
    bench.sql("ALTER SYSTEM SET default_transaction_read_only = on").await;
    bench.sql("SELECT pg_reload_conf()").await;
    let readable = "SELECT (current_setting('default_transaction_read_only') = 'on')::int4::int8";
    until("the server takes no writes", async || bench.count(readable).await == 1).await;
    let first = bench.write(Uuid::now_v7()).await.unwrap_err();
    assert_eq!(first.kind, Kind::ReadOnly, "{first}");
    assert!(first.attempts > 1, "{first}");
    let opened = bench.proxy.counts().opened;
    let id = Uuid::now_v7();
    for _ in 0..20 {
        assert_eq!(bench.write(id).await.unwrap_err().kind, Kind::ReadOnly);
        bench.read().await.unwrap();
    }
    let opened = bench.proxy.counts().opened - opened;
    assert!(opened <= 40, "{opened} connects for twenty writes and twenty reads");
    bench.sql("ALTER SYSTEM RESET default_transaction_read_only").await;
    bench.sql("SELECT pg_reload_conf()").await;
    until("a write was taken again", async || bench.write(id).await.is_ok()).await;
    assert_eq!(bench.notes(id).await, 1);
}

async fn recovering(pool: &Pool) -> bool {
    let read = pool.read(Deadline::after(PLENTY), async |db| {
        let sql = "SELECT pg_is_in_recovery()";
        Ok::<_, Abort<Refusal>>(sqlx::query_scalar(sql).fetch_one(db).await?)
    });
    read.await.unwrap()
}

fn address(cluster: &Cluster) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], cluster.port()))
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_is_left_for_the_writer() {
    let bench = Bench::with(Settings::default(), "connect_timeout=20&pool_timeout=20").await;
    let standby = bench
        .cluster
        .standby("standby", Replication::Asynchronous)
        .await
        .unwrap();
    bench.proxy.redirect(address(&standby));
    assert!(recovering(&bench.pool).await);
    bench.proxy.redirect(address(&bench.cluster));
    until("reads found the writer", async || !recovering(&bench.pool).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_reads_reuse_connections() {
    let bench = Bench::with(Settings::default(), "connect_timeout=20&pool_timeout=20").await;
    let standby = bench
        .cluster
        .standby("standby", Replication::Asynchronous)
        .await
        .unwrap();
    bench.proxy.redirect(address(&standby));
    let looked = async || {
        bench.read().await.unwrap();
        bench.proxy.counts().opened > 1
    };
    until("a read looked for the writer", looked).await;
    for _ in 0..50 {
        bench.read().await.unwrap();
    }
    assert_eq!(bench.proxy.counts().opened, 2);
    assert!(recovering(&bench.pool).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_host_failover_needs_no_dns() {
    let bench = Bench::new().await;
    let standby = bench
        .cluster
        .standby("standby", Replication::Synchronous)
        .await
        .unwrap();
    let (primary, other) = (address(&bench.cluster), address(&standby));
    let both = format!("{other},{primary}");
    let pool = pool(&bench.cluster.url().replace(&primary.to_string(), &both), "");
    // The first host rejects writes, and reads prefer the one that accepts them.
    until("reads found the writer", async || !recovering(&pool).await).await;
    let bench = Bench { pool, ..bench };
    let before = Uuid::now_v7();
    bench.write(before).await.unwrap();
    bench.cluster.stop(Shutdown::Immediate).await.unwrap();
    let after = Uuid::now_v7();
    // It begins while no server accepts writes.
    let (written, promoted) = tokio::join!(bench.write(after), standby.promote());
    promoted.unwrap();
    written.unwrap();
    let rows = bench.pool.read(Deadline::after(PLENTY), async |db| {
        let ids = sqlx::query_scalar::<_, Uuid>("SELECT id FROM notes ORDER BY id").fetch_all(db);
        Ok::<_, Abort<Refusal>>(ids.await?)
    });
    assert_eq!(rows.await.unwrap(), [before, after]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_host_does_not_delay_others() {
    let bench = Bench::new().await;
    let silent = Proxy::start(address(&bench.cluster)).await.unwrap();
    silent.set_admission(Admission::Silent).await;
    let both = format!("{},{}", silent.address(), bench.proxy.address());
    let url = bench.cluster.url().replace(&address(&bench.cluster).to_string(), &both);
    let bench = Bench {
        pool: pool(&url, "connect_timeout=20"),
        ..bench
    };
    bench.write(Uuid::now_v7()).await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 1);
}
