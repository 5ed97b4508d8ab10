//! The checks on a connection before it is borrowed again.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use local::postgres::Settings;
use local::proxy::{Admission, Effect, Statements};
use shared::config::Config;
use shared::db::{Abort, Deadline, Error, IdempotencyKey, Kind, Phase, Pool, Receipt, Session, WriteAttempt, Written};
use shared::diagnostics::Purpose;
use sqlx::Connection as _;
use uuid::Uuid;

use super::bench::{Bench, PLENTY, Refusal, note, one, pool, until};

#[tokio::test(flavor = "multi_thread")]
async fn warm_request_is_one_round_trip() {
    let bench = Bench::new().await;
    bench.read().await.unwrap();
    bench.write(Uuid::now_v7()).await.unwrap();
    // A sweep of expired receipts follows one write in fifty, and is not counted.
    bench
        .proxy
        .order(Statements::Containing("sweep_receipts"), [Effect::Nothing]);
    let before = bench.proxy.counts();
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().ready - before.ready, 1);
    bench.write(Uuid::now_v7()).await.unwrap();
    let now = bench.proxy.counts();
    assert_eq!((now.ready - before.ready) - (now.cut - before.cut), 2);
    assert_eq!(bench.proxy.counts().opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_checkout_costs_no_round_trip() {
    // A slow machine must not start a companion.
    let bench = Bench::with(Settings::default(), "connect_timeout=20&pool_timeout=20").await;
    bench.read().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = bench.proxy.counts();
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().ready - before.ready, 1);
    assert_eq!(bench.proxy.counts().opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_close_costs_one_connect() {
    let bench = pool_of_one_attempt(Bench::new().await, "");
    bench.read().await.unwrap();
    bench.terminate_sessions().await;
    until("the proxy closed its side", async || bench.proxy.counts().open == 0).await;
    // No statement is lost on it: there is only one attempt.
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_message_costs_only_a_ping() {
    let bench = Bench::with(Settings::default(), "connect_timeout=20&pool_timeout=20").await;
    let listen = bench.pool.read(Deadline::after(PLENTY), async |db| {
        sqlx::raw_sql("LISTEN news").execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    });
    listen.await.unwrap();
    // Its statement is prepared.
    bench.read().await.unwrap();
    bench.sql("NOTIFY news").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = bench.proxy.counts();
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().ready - before.ready, 2);
    assert_eq!(bench.proxy.counts().opened, 1);
}

/// The same, with a pool that makes only one attempt at a statement.
fn pool_of_one_attempt(bench: Bench, parameters: &str) -> Bench {
    let url = format!("{}?{parameters}", bench.proxy.url(&bench.cluster.url()));
    let config = Config::from_lookup(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some("bench".to_owned()),
        "MAX_RETRY_ATTEMPTS" => Some("1".to_owned()),
        _ => None,
    });
    let pool = Pool::new(&config.database.unwrap(), &config.lambda);
    Bench { pool, ..bench }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connection_checks_siblings() {
    let bench = pool_of_one_attempt(Bench::new().await, "connection_limit=3");
    let checkout = || bench.pool.checkout(Purpose::Read, Deadline::after(PLENTY));
    let three = [
        checkout().await.unwrap(),
        checkout().await.unwrap(),
        checkout().await.unwrap(),
    ];
    for connection in three {
        connection.release().await;
    }
    bench.proxy.silence();
    // The first request loses its only attempt on the first connection; the second one is spared the other connections.
    assert_eq!(bench.read().await.unwrap_err().kind, Kind::Lost);
    bench.read().await.unwrap();
    // Held at the same time: reads that are answered at once would take turns on one connection.
    let together = futures_util::future::try_join_all((0..3).map(|_| checkout()));
    let _held = together.await.unwrap();
    // The witness of the first replaced it.
    assert_eq!(bench.proxy.counts().opened, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_survive_ended_sessions() {
    let bench = Bench::with(
        Settings::default(),
        "connection_limit=16&pool_timeout=0&connect_timeout=20",
    )
    .await;
    let together = || futures_util::future::try_join_all((0..16).map(|_| bench.read()));
    let checkout = || bench.pool.checkout(Purpose::Read, Deadline::after(PLENTY));
    let all = futures_util::future::join_all((0..16).map(|_| checkout())).await;
    for connection in all {
        connection.unwrap().release().await;
    }
    assert_eq!(bench.proxy.counts().opened, 16);
    let (answered, ()) = tokio::join!(together(), bench.terminate_sessions());
    answered.unwrap();
    together().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connection_hides_no_live_one() {
    let bench = Bench::with(Settings::default(), "connection_limit=2").await;
    let checkout = || bench.pool.checkout(Purpose::Read, Deadline::after(PLENTY));
    let (living, lost) = (checkout().await.unwrap(), checkout().await.unwrap());
    living.release().await;
    drop(lost);
    bench.proxy.set_admission(Admission::Refused).await;
    bench.read().await.unwrap();
    bench.proxy.set_admission(Admission::Open).await;
    // The lost one's slot is still free, and only that one.
    let _both = (checkout().await.unwrap(), checkout().await.unwrap());
    assert_eq!(bench.proxy.counts().opened, 3);
    let third = bench
        .pool
        .checkout(Purpose::Read, Deadline::after(Duration::from_millis(100)));
    assert_eq!(third.await.unwrap_err().phase, Phase::Acquire);
}

/// The server's process behind the pool's only session.
async fn process(bench: &Bench) -> String {
    let pid = "SELECT pid::int8 FROM pg_stat_activity WHERE application_name = 'bench:$LATEST'";
    bench.count(pid).await.to_string()
}

fn signal(signal: &str, process: &str) {
    let told = std::process::Command::new("kill")
        .args(["-s", signal, process])
        .status();
    assert!(told.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn blackhole_in_use_is_retried() {
    let bench = Bench::with(Settings::default(), "socket_timeout=600").await;
    bench.read().await.unwrap();
    bench.proxy.silence();
    // TCP_USER_TIMEOUT ends the wait, long before the statement's limit.
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_work_drops_its_connection() {
    let bench = Bench::new().await;
    bench.read().await.unwrap();
    let slow = bench.pool.read(Deadline::after(PLENTY), async |db| {
        sqlx::query("SELECT pg_sleep(60)").execute(db).await?;
        Ok::<_, shared::db::Abort<Refusal>>(())
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), slow).await.is_err());
    assert_eq!(bench.read().await.unwrap(), 1);
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadline_ends_statement_on_server() {
    // The session's own limit does not end it.
    let bench = Bench::with(Settings::default(), "socket_timeout=600").await;
    bench.read().await.unwrap();
    let sleep = async |db: &mut Session| {
        sqlx::query("SELECT pg_sleep(600)").execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    };
    let short = || Deadline::after(Duration::from_millis(400));
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let Refusal(read) = bench.pool.read(short(), sleep).await.unwrap_err();
    assert_eq!(read.kind, Kind::Timeout);
    until("the server ended the read", async || bench.count(asleep).await == 0).await;
    let key = IdempotencyKey::generated();
    let sleep = async |db: &mut Session, _: &WriteAttempt, (): &()| {
        sqlx::query("SELECT pg_sleep(600)").execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    };
    let write = bench.pool.write(short(), &key, &(), sleep, async |_, _, _| Ok(()));
    let Refusal(write) = write.await.unwrap_err();
    assert_eq!(write.kind, Kind::Timeout);
    until("the server ended the write", async || bench.count(asleep).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_server_work_is_retried() {
    let bench = Bench::with(Settings::default(), "socket_timeout=1").await;
    bench.read().await.unwrap();
    let process = process(&bench).await;
    signal("STOP", &process);
    let read = bench.read().await;
    signal("CONT", &process);
    read.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

/// It is opened by host name, while init connects elsewhere too.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn init_connection_notices_blackhole() {
    let bench = Bench::new().await;
    let url = bench.proxy.url(&bench.cluster.url()).replace("127.0.0.1", "localhost");
    let bench = Bench {
        pool: pool(&url, "socket_timeout=600"),
        ..bench
    };
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = async {
        // At once, because there is little time while `localhost` is resolved.
        let other = TcpStream::connect(elsewhere.local_addr().unwrap());
        tokio::task::yield_now().await;
        other
    };
    let (verified, _other) = tokio::join!(bench.pool.connect_during_init(Deadline::after(PLENTY)), other);
    verified.unwrap();
    bench.proxy.silence();
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_stale_plan_is_retried_once() {
    let bench = Bench::new().await;
    let stale = async |db: &mut Session| {
        let sql = "DO $$ BEGIN RAISE 'stale' USING ERRCODE = '0A000'; END $$";
        sqlx::raw_sql(sql).execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    };
    let Refusal(failed) = bench.pool.read(Deadline::after(PLENTY), stale).await.unwrap_err();
    assert_eq!((failed.kind, failed.attempts), (Kind::StalePlan, 2), "{failed}");
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrated_plan_is_prepared_again() {
    let bench = Bench::new().await;
    let read = || async {
        bench
            .pool
            .read(Deadline::after(PLENTY), async |db| {
                let rows = sqlx::query("SELECT * FROM notes").fetch_all(db).await?;
                Ok::<_, shared::db::Abort<Refusal>>(rows.len())
            })
            .await
    };
    read().await.unwrap();
    bench.sql("ALTER TABLE notes ADD COLUMN more text").await;
    read().await.unwrap();
}

/// Asserts that the pool's connection is still the first one, clean, and holds no locks.
async fn as_new(bench: &Bench) {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    assert_eq!(bench.count(open).await, 0);
    bench.read().await.unwrap();
    bench.write(Uuid::now_v7()).await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_transaction_is_never_reused() {
    let bench = Bench::new().await;
    let id = Uuid::now_v7();
    bench.write(id).await.unwrap();
    let divide = async |db: &mut Session| {
        sqlx::query("SELECT 1/0").execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    };
    // In autocommit; in an explicit transaction, because time is short; in a write.
    for budget in [PLENTY, Duration::from_secs(10)] {
        let failed = bench.pool.read(Deadline::after(budget), divide).await;
        assert_eq!(failed.unwrap_err().0.sqlstate.as_deref(), Some("22012"));
        as_new(&bench).await;
    }
    assert_eq!(bench.write(id).await.unwrap_err().sqlstate.as_deref(), Some("23505"));
    as_new(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_work_is_rolled_back() {
    let bench = Bench::new().await;
    bench.read().await.unwrap();
    let refuse = || Abort::Rejected(Refusal(Error::bare(Kind::Config, Phase::Config)));
    let short = Deadline::after(Duration::from_secs(10));
    bench.pool.read(short, async |db| one(db).await).await.unwrap();
    as_new(&bench).await;
    let refused = bench.pool.read(short, async |_| Err::<(), _>(refuse())).await;
    assert_eq!(refused.unwrap_err().0.kind, Kind::Config);
    as_new(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_sets_name_and_timeouts() {
    let bench = Bench::new().await;
    let limits = bench.pool.read(Deadline::after(PLENTY), async |db| {
        let limits: (String, String, String) = sqlx::query_as(
            "SELECT current_setting('statement_timeout'), current_setting('idle_session_timeout'),
             current_setting('idle_in_transaction_session_timeout')",
        )
        .fetch_one(db)
        .await?;
        Ok::<_, shared::db::Abort<Refusal>>(limits)
    });
    let (statement, idle, in_transaction) = limits.await.unwrap();
    assert_eq!((&*statement, &*idle, &*in_transaction), ("14s", "10min", "2s"));
    assert_eq!(bench.sessions().await, 1);
}

/// It leaves no prepared statement on the server connection.
#[tokio::test(flavor = "multi_thread")]
async fn pooler_read_stays_on_one_server() {
    let bench = Bench::with(Settings::default(), "pgbouncer=true").await;
    let read = bench.pool.read(Deadline::after(PLENTY), async |db| {
        // Set for a transaction only; and the statement that queries the names has none itself.
        let sql = "SELECT current_setting('idle_in_transaction_session_timeout'), \
                   (SELECT count(*) FROM pg_prepared_statements)";
        let seen: (String, i64) = sqlx::query_as(sql).fetch_one(db).await?;
        Ok::<_, Abort<Refusal>>(seen)
    });
    assert_eq!(read.await.unwrap(), ("2s".to_owned(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pooler_replay_stays_on_one_server() {
    let bench = Bench::with(Settings::default(), "pgbouncer=true").await;
    let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
    let id = Uuid::now_v7();
    bench.write_under(&key, id).await.unwrap();
    let replay = async |db: &mut Session, receipt: &Receipt, _: &Uuid| {
        // Set for a transaction only.
        let sql = "SELECT current_setting('idle_in_transaction_session_timeout')";
        let seen: String = sqlx::query_scalar(sql).fetch_one(db).await?;
        assert_eq!(seen, "2s");
        Ok::<_, Abort<Refusal>>(receipt.id)
    };
    let again = bench.pool.write(Deadline::after(PLENTY), &key, &id, note, replay).await;
    assert!(
        matches!(again, Ok(Written::Replayed(_, Ok(found))) if found == id),
        "{again:?}"
    );
}

/// Its transaction is not read-only, which would hide whether the server takes writes.
#[tokio::test(flavor = "multi_thread")]
async fn pooler_probe_stays_on_one_server() {
    let bench = Bench::with(Settings::default(), "pgbouncer=true").await;
    let mut connection = bench.pool.probe(Deadline::after(PLENTY)).await.unwrap();
    let transaction = async |db: &mut Session| {
        let sql = "SELECT pg_current_xact_id()::text, current_setting('transaction_read_only')";
        sqlx::query_as::<_, (String, String)>(sql).fetch_one(db).await
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let twice = async |db: &mut Session| Ok((transaction(db).await?, transaction(db).await?));
        let (first, second) = connection.ask(Deadline::after(PLENTY), twice).await.unwrap();
        assert_eq!(first, second, "each statement was on its own");
        assert_eq!(first.1, "off", "every server looks as if it took no writes");
        seen.push(first);
    }
    assert_ne!(seen[0], seen[1], "the transaction was left open");
}

#[tokio::test(flavor = "multi_thread")]
async fn close_idle_leaves_a_usable_pool() {
    let bench = Bench::new().await;
    bench.read().await.unwrap();
    bench.pool.close_idle().await;
    until("its session ended", async || bench.sessions().await == 0).await;
    bench.read().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_server_is_verified() {
    let settings = Settings {
        tls: true,
        ..Settings::default()
    };
    let bench = Bench::with(settings, "").await;
    let authority = bench.cluster.authority().unwrap().display().to_string();
    let through = |parameters: &str| {
        let url = bench.cluster.url();
        let url = url.split('?').next().unwrap().to_owned();
        pool(&url, parameters)
    };
    let verified = through(&format!("sslmode=verify-full&sslrootcert={authority}"));
    let answer = verified.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(answer.unwrap(), 1);
    // With several hosts each is verified by its own name, which must be in the certificate.
    let verify = format!("sslmode=verify-full&sslrootcert={authority}");
    let several = |hosts: &str, parameters: &str| {
        let url = bench.cluster.url().replace("127.0.0.1", hosts);
        pool(url.split('?').next().unwrap(), &format!("{verify}&{parameters}"))
    };
    let second = several("localhost:1,127.0.0.1", "pool_timeout=0");
    let answer = second.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(answer.unwrap(), 1);
    let unnamed = several("localhost:1,127.0.0.2", "pool_timeout=1");
    let refused = unnamed.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(refused.unwrap_err().0.phase, Phase::Connect);
    let unknown = through("sslmode=verify-full");
    let refused = unknown.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    assert_eq!(refused.unwrap_err().0.kind, Kind::Tls);
    bench.direct().await.close().await.unwrap();
}

/// Returns results that change with each setting that a role could have.
async fn meaning(bench: &Bench) -> String {
    let read = bench.pool.read(Deadline::after(PLENTY), async |db| {
        let sql = r"SELECT concat_ws(' ', '\x00ff'::bytea, length('\n'), coalesce((1 = NULL)::text, 'unknown'),
                    array_position('{NULL}'::text[], NULL), '1 day 2 hours'::interval, to_jsonb(0.1::float8 + 0.2),
                    current_setting('transaction_isolation'), current_setting('row_security'),
                    current_setting('gin_fuzzy_search_limit'))";
        Ok::<_, Abort<Refusal>>(sqlx::query_scalar(sql).fetch_one(db).await?)
    });
    read.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn role_settings_change_no_result() {
    let bench = Bench::new().await;
    let before = meaning(&bench).await;
    for setting in [
        "bytea_output = escape",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "array_nulls = off",
        "IntervalStyle = iso_8601",
        "extra_float_digits = -3",
        "default_transaction_isolation = serializable",
        "row_security = off",
        "gin_fuzzy_search_limit = 5",
    ] {
        bench.sql(&format!("ALTER ROLE CURRENT_USER SET {setting}")).await;
    }
    bench.pool.close_idle().await;
    assert_eq!(meaning(&bench).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_setup_is_one_statement() {
    let bench = Bench::new().await;
    let mut connection = bench.pool.probe(Deadline::after(PLENTY)).await.unwrap();
    // One ends the log-in, the other is the status.
    assert_eq!(bench.proxy.counts().ready, 2);
    let sql = "SELECT current_setting('plan_cache_mode'), \
               current_setting('client_connection_check_interval'), \
               coalesce(current_setting('transaction_timeout', true), '')";
    let asked = connection.ask(Deadline::after(PLENTY), async |db| {
        sqlx::query_as::<_, (String, String, String)>(sql).fetch_one(db).await
    });
    let (plans, check, transaction) = asked.await.unwrap();
    let identity = connection.identity().unwrap();
    assert_eq!((&*plans, &*check), ("force_generic_plan", "500ms"));
    let version = "SELECT current_setting('server_version_num')::int8";
    let newest = bench.count(version).await >= 170_000;
    assert_eq!(transaction, if newest { "16s" } else { "" });
    let same = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND (extract(epoch FROM backend_start) * 1000000) = {}",
        identity.pid, identity.backend_start
    );
    assert_eq!(bench.count(&same).await, 1);
    assert!(connection.connected_in() > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn pooler_session_is_left_unchanged() {
    let bench = Bench::with(Settings::default(), "pgbouncer=true").await;
    let mut connection = bench.pool.probe(Deadline::after(PLENTY)).await.unwrap();
    let asked = connection.ask(Deadline::after(PLENTY), async |db| {
        let sql = "SELECT count(*) FROM pg_settings WHERE source = 'session'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(db).await
    });
    assert_eq!(asked.await.unwrap(), 0);
    assert_eq!(connection.identity(), None);
}
