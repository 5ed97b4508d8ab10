//! More environments than the server has slots, or than it logs in concurrently.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use local::postgres::Settings;
use local::proxy::Admission;
use shared::config::Config;
use shared::db::{Deadline, Kind, Pool};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;

use super::bench::{Bench, PLENTY, one, pool, until};

/// INIT's time for its connection.
fn init() -> Deadline {
    Deadline::after(Duration::from_secs(3))
}

fn few_slots() -> Settings {
    Settings {
        max_connections: 13,
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_take_turns_on_few_slots() {
    let bench = Bench::with(few_slots(), "").await;
    let url = bench.cluster.url();
    // Four environments for each slot: on a busy machine the last of them waits longer than the default.
    let reads = (0..40).map(|_| {
        let pool = pool(&url, "pool_timeout=20");
        async move {
            for _ in 0..3 {
                pool.read(Deadline::after(PLENTY), async |db| one(db).await)
                    .await
                    .unwrap();
            }
            pool
        }
    });
    futures_util::future::join_all(reads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_server_is_named_saturated() {
    let bench = Bench::with(few_slots(), "pool_timeout=1").await;
    let mut others = Vec::new();
    for _ in 0..13 {
        others.push(bench.direct().await);
    }
    assert_eq!(bench.read().await.unwrap_err().kind, Kind::Saturated);
    others.truncate(5);
    bench.read().await.unwrap();
}

/// Returns a cluster with most of its ten slots in use, and the connections that use them.
async fn near_capacity() -> (Bench, Vec<sqlx::PgConnection>) {
    let bench = Bench::with(few_slots(), "").await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(bench.direct().await);
    }
    (bench, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn init_near_capacity_frees_its_slot() {
    let (bench, _others) = near_capacity().await;
    bench.pool.connect_during_init(init()).await.unwrap();
    assert_eq!(bench.sessions().await, 1);
    // No invocation follows.
    until("its session ended by itself", async || bench.sessions().await == 0).await;
    bench.read().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_near_capacity_serves_once() {
    let (bench, _others) = near_capacity().await;
    bench.pool.connect_during_init(init()).await.unwrap();
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 1);
    until("it took turns", async || bench.sessions().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioned_init_frees_its_slot() {
    let (bench, _others) = near_capacity().await;
    let url = bench.proxy.url(&bench.cluster.url());
    let config = Config::from_lookup(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "AWS_LAMBDA_INITIALIZATION_TYPE" => Some("provisioned-concurrency".to_owned()),
        _ => None,
    });
    let pool = Pool::new(&config.database.unwrap(), &config.lambda);
    pool.connect_during_init(init()).await.unwrap();
    let answer = pool.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(bench.proxy.counts().opened, 2);
}

/// Starts a server that logs in one client after the other: connections are accepted at once, and reach the server in
/// turn, one per `every`, including those whose client has disconnected. The first `lost` never do. Returns its address
/// and the number of forwarded connections.
async fn queue(server: SocketAddr, every: Duration, lost: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (enter, mut entered) = unbounded_channel();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((client, _)) = listener.accept().await {
            if held.len() < lost {
                held.push(client);
            } else {
                enter.send(client).unwrap();
            }
        }
    });
    let through = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&through);
    tokio::spawn(async move {
        while let Some(mut client) = entered.recv().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
            sleep(every).await;
        }
    });
    (address, through)
}

/// Starts cold environments at once, each with one request, at a server with slow log-ins. Returns the log-ins beyond
/// one each.
async fn wasted_log_ins(environments: usize, every: Duration, parameters: &str) -> usize {
    let bench = Bench::new().await;
    let server = SocketAddr::from(([127, 0, 0, 1], bench.cluster.port()));
    let (address, through) = queue(server, every, 0).await;
    let url = bench.cluster.url().replace(&server.to_string(), &address.to_string());
    let requests = (0..environments).map(|_| {
        let pool = pool(&url, parameters);
        async move {
            let _ = pool.connect_during_init(init()).await;
            let read = pool.read(Deadline::after(PLENTY), async |db| one(db).await).await;
            pool.close_idle().await;
            read
        }
    });
    let answers = futures_util::future::join_all(requests).await;
    let log_ins = through.load(Ordering::SeqCst);
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(
        failed,
        0,
        "not answered, after {log_ins} log-ins: {:?}",
        answers.iter().find(|answer| answer.is_err())
    );
    log_ins - environments
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_logins_keep_their_place() {
    // The last is admitted after INIT has ended, and after four times the limit of an attempt. Each may start a
    // companion, which may be admitted too if the machine is slower than the queue.
    let wasted = wasted_log_ins(40, Duration::from_millis(100), "connect_timeout=1&pool_timeout=0").await;
    assert!(wasted <= 40, "{wasted} log-ins were for none");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "asks whether to measure, not how")]
async fn slow_logins_of_two_hundred() {
    if std::env::var_os("SLOW_LOG_INS").is_none() {
        return eprintln!("skipped: a measurement for a quiet machine; SLOW_LOG_INS=1 runs it");
    }
    let wasted = wasted_log_ins(200, Duration::from_millis(33), "").await;
    assert!(wasted <= 20, "{wasted} log-ins were for none");
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_login_gets_a_companion() {
    let bench = Bench::new().await;
    let server = SocketAddr::from(([127, 0, 0, 1], bench.cluster.port()));
    let (address, through) = queue(server, Duration::ZERO, 1).await;
    let url = bench.cluster.url().replace(&server.to_string(), &address.to_string());
    let pool = pool(&url, "connect_timeout=1&pool_timeout=0");
    let answer = pool.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(through.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn init_login_continues_in_request() {
    let bench = Bench::with(Settings::default(), "connect_timeout=20").await;
    bench.proxy.set_admission(Admission::Slow(3_500)).await;
    let unfinished = bench.pool.connect_during_init(init()).await.unwrap_err();
    assert_eq!(unfinished.kind, Kind::Timeout);
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_init_login_is_restarted() {
    let bench = Bench::with(Settings::default(), "connect_timeout=20").await;
    bench.proxy.set_admission(Admission::Silent).await;
    bench.pool.connect_during_init(init()).await.unwrap_err();
    // The held connections are closed.
    bench.proxy.set_admission(Admission::Open).await;
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 1);
}
