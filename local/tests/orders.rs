//! The proxy's effects on single requests, with a real client and a real server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use local::postgres::{Cluster, Settings};
use local::proxy::{Counts, Cut, Effect, Proxy, Statements};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

const WRITE: &str = "INSERT INTO receipts VALUES ($1)";
const WRITES: Statements = Statements::Containing("receipts");
const ROWS: &str = "SELECT count(*) FROM receipts";
/// More than anything here takes.
const BOUND: Duration = Duration::from_secs(30);
/// Long enough that an answer would have arrived.
const SILENCE: Duration = Duration::from_millis(300);

struct Bench {
    proxy: Proxy,
    direct: PgConnection,
    options: PgConnectOptions,
    _cluster: Cluster,
}

impl Bench {
    async fn new() -> Self {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        let options: PgConnectOptions = cluster.url().parse().unwrap();
        let mut direct = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE receipts (key int)")
            .execute(&mut direct)
            .await
            .unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], cluster.port()).into()).await.unwrap();
        let options = options.port(proxy.address().port());
        let options = options.ssl_mode(sqlx::postgres::PgSslMode::Disable);
        Self {
            proxy,
            direct,
            options,
            _cluster: cluster,
        }
    }

    /// Returns a connection that has prepared the statement.
    async fn client(&self) -> PgConnection {
        let mut client = PgConnection::connect_with(&self.options).await.unwrap();
        write(&mut client).await.unwrap();
        client
    }

    async fn number(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.direct).await.unwrap()
    }

    async fn rows(&mut self) -> i64 {
        self.number(ROWS).await
    }

    async fn becomes(&mut self, wanted: i64, sql: &'static str) {
        let reached = timeout(BOUND, async {
            while self.number(sql).await != wanted {
                sleep(Duration::from_millis(5)).await;
            }
        });
        reached
            .await
            .unwrap_or_else(|_| panic!("{sql} never answered {wanted}"));
    }

    async fn counts(&self, reached: impl Fn(Counts) -> bool) {
        let waited = timeout(BOUND, async {
            while !reached(self.proxy.counts()) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{:?}", self.proxy.counts()));
    }
}

async fn write(client: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(WRITE).bind(1).execute(client).await.map(drop)
}

/// Sessions that wait for the rest of a request and keep its locks.
const HALF: &str = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'ClientRead'";

/// Sessions of clients.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";

#[tokio::test]
async fn write_is_cut_where_ordered() {
    let mut bench = Bench::new().await;
    for (number, (cut, applied)) in [
        (Cut::BeforeServer, 0),
        (Cut::BeforeSync, 0),
        (Cut::AfterServer, 1),
        (Cut::BeforeAcknowledgement, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = bench.client().await;
        let before = bench.rows().await;
        bench.proxy.order(WRITES, [Effect::Cut(cut)]);
        sqlx::query("SELECT 1").execute(&mut client).await.unwrap();
        assert_eq!(bench.proxy.counts().cut, number as u64, "another statement was cut");
        let lost = timeout(BOUND, write(&mut client)).await.unwrap();
        assert!(matches!(lost, Err(sqlx::Error::Io(_))), "{cut:?}: {lost:?}");
        // The server has noticed that its client has disconnected: only `direct` is left.
        bench.becomes(1, SESSIONS).await;
        assert_eq!(bench.rows().await, before + applied, "{cut:?}");
    }
}

#[tokio::test]
async fn path_hangs_where_ordered() {
    let mut bench = Bench::new().await;
    for (number, (cut, applied, half)) in [
        (Cut::BeforeServer, 0, 0),
        (Cut::BeforeSync, 0, 1),
        (Cut::AfterServer, 1, 0),
        (Cut::BeforeAcknowledgement, 1, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = bench.client().await;
        let before = bench.rows().await;
        bench.proxy.order(WRITES, [Effect::Hang(cut)]);
        let hung = tokio::spawn(async move { write(&mut client).await });
        bench.counts(|counts| counts.cut == number as u64 + 1).await;
        bench.becomes(half, HALF).await;
        bench.becomes(before + applied, ROWS).await;
        sleep(SILENCE).await;
        assert!(!hung.is_finished(), "{cut:?}");
        hung.abort();
        assert_eq!(bench.rows().await, before + applied, "{cut:?}");
        // The client has disconnected, but its session remains.
        assert_eq!(
            (bench.number(HALF).await, bench.number(SESSIONS).await),
            (half, 2),
            "{cut:?}"
        );
        bench.proxy.reset();
        bench.becomes(1, SESSIONS).await;
    }
}

#[tokio::test]
async fn late_request_outlives_its_client() {
    let mut bench = Bench::new().await;
    let mut client = bench.client().await;
    bench.proxy.order(WRITES, [Effect::LateRequest(SILENCE)]);
    assert!(timeout(SILENCE / 10, write(&mut client)).await.is_err());
    drop(client);
    assert_eq!((bench.rows().await, bench.proxy.counts().late), (1, 0));
    bench.counts(|counts| counts.late == 1).await;
    assert_eq!(bench.rows().await, 2);
    bench.counts(|counts| counts.open == 0).await;
}

#[tokio::test]
async fn late_request_answers_waiting_client() {
    let mut bench = Bench::new().await;
    let mut client = bench.client().await;
    bench.proxy.order(WRITES, [Effect::LateRequest(SILENCE / 10)]);
    write(&mut client).await.unwrap();
    write(&mut client).await.unwrap();
    assert_eq!((bench.rows().await, bench.proxy.counts().late), (3, 1));
}

#[tokio::test]
async fn late_reply_follows_applied_write() {
    let mut bench = Bench::new().await;
    let mut client = bench.client().await;
    bench.proxy.order(WRITES, [Effect::LateReply(SILENCE)]);
    let late = tokio::spawn(async move { write(&mut client).await });
    bench.becomes(2, ROWS).await;
    timeout(BOUND, late).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn doubled_request_is_answered_once() {
    let mut bench = Bench::new().await;
    let mut client = bench.client().await;
    // The first passes, so that the second is doubled.
    bench.proxy.order(WRITES, [Effect::Nothing, Effect::Twice]);
    write(&mut client).await.unwrap();
    write(&mut client).await.unwrap();
    let three: i32 = sqlx::query_scalar("SELECT 3").fetch_one(&mut client).await.unwrap();
    assert_eq!((three, bench.rows().await), (3, 4));
}

#[tokio::test]
async fn withdrawn_order_has_no_effect() {
    let bench = Bench::new().await;
    bench.proxy.order(WRITES, [Effect::Cut(Cut::BeforeServer)]);
    bench.proxy.withdraw(WRITES);
    bench.client().await;
    assert_eq!(bench.proxy.counts().cut, 0);
}

#[tokio::test]
async fn login_is_used_after_a_statement() {
    let bench = Bench::new().await;
    let mut idle = PgConnection::connect_with(&bench.options).await.unwrap();
    sqlx::raw_sql("SELECT 1").execute(&mut idle).await.unwrap();
    let mut client = bench.client().await;
    write(&mut client).await.unwrap();
    let counts = bench.proxy.counts();
    assert_eq!((counts.logins, counts.used), (2, 1));
}
