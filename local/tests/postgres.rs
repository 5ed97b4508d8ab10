//! The clusters of `local::postgres`, from a client's view: every state is queried from the server over TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use local::postgres::{Cluster, Replication, Settings, Shutdown};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, Row as _};

/// More than any state here needs to come about on a loaded machine.
const BOUND: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the server is up and lets its superuser in")
}

async fn value(url: &str, statement: &'static str) -> String {
    let mut session = connect(url).await;
    let row = sqlx::query(statement).fetch_one(&mut session).await.unwrap();
    session.close().await.unwrap();
    row.get(0)
}

async fn execute(url: &str, statement: &'static str) {
    let mut session = connect(url).await;
    sqlx::query(statement).execute(&mut session).await.unwrap();
    session.close().await.unwrap();
}

/// Repeats the query until the answer is `wanted`.
async fn becomes(url: &str, statement: &'static str, wanted: &str) {
    let reached = tokio::time::timeout(BOUND, async {
        while value(url, statement).await != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    reached
        .await
        .unwrap_or_else(|_| panic!("{statement} never answered {wanted}"));
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[tokio::test]
async fn throwaway_cluster_leaves_nothing() {
    let settings = Settings {
        max_connections: 37,
        parameters: vec![("application_name".into(), "it's \\ quoted".into())],
        ..Settings::default()
    };
    let pg = Cluster::throwaway(settings).await.unwrap();
    let mut session = connect(&pg.url()).await;
    let row = sqlx::query(
        "SELECT current_user::text, current_database()::text, current_setting('max_connections'), current_setting('unix_socket_directories'),
                (SELECT setting FROM pg_settings WHERE name = 'application_name' AND source <> 'client')",
    )
    .fetch_one(&mut session)
    .await
    .unwrap();
    assert_eq!(row.get::<String, _>(0), "seer");
    assert_eq!(row.get::<String, _>(1), "seer");
    assert_eq!(row.get::<String, _>(2), "37");
    assert_eq!(row.get::<String, _>(3), "");
    assert_eq!(row.get::<Option<String>, _>(4).as_deref(), Some("it's \\ quoted"));
    let (port, folder) = (pg.port(), pg.data().parent().unwrap().to_path_buf());
    assert!(listens(port) && folder.exists());
    drop(pg);
    assert!(!listens(port), "the server still listens");
    assert!(!folder.exists(), "{} is still there", folder.display());
}

#[tokio::test]
async fn connect_requires_the_password() {
    let pg = Cluster::throwaway(Settings::default()).await.unwrap();
    for url in [
        pg.url().replace(pg.password(), "wrong"),
        pg.url().replace(&format!(":{}", pg.password()), ""),
    ] {
        let error = PgConnection::connect(&url)
            .await
            .expect_err("came in without the password");
        assert_eq!(
            error.as_database_error().and_then(|error| error.code()).as_deref(),
            Some("28P01"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn restart_keeps_port_and_data() {
    let pg = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = pg.url();
    execute(&url, "CREATE TABLE kept AS SELECT 1 AS n").await;
    for how in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Smart] {
        pg.stop(how).await.unwrap();
        assert!(!listens(pg.port()), "{how:?} left it listening");
        pg.start().await.unwrap();
        assert_eq!(pg.url(), url);
        assert_eq!(value(&url, "SELECT count(*)::text FROM kept").await, "1", "{how:?}");
    }
    let before = value(&url, "SELECT pg_postmaster_start_time()::text").await;
    pg.start().await.unwrap();
    assert_eq!(
        value(&url, "SELECT pg_postmaster_start_time()::text").await,
        before,
        "start restarted a running server"
    );
}

#[tokio::test]
async fn crash_is_recovered() {
    let pg = Cluster::throwaway(Settings::default()).await.unwrap();
    let mut session = connect(&pg.url()).await;
    sqlx::query("CREATE TABLE kept AS SELECT 1 AS n")
        .execute(&mut session)
        .await
        .unwrap();
    sqlx::query("BEGIN").execute(&mut session).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (2)")
        .execute(&mut session)
        .await
        .unwrap();
    pg.kill().await.unwrap();
    assert!(!listens(pg.port()));
    assert!(
        sqlx::query("SELECT 1").execute(&mut session).await.is_err(),
        "a backend outlived the crash"
    );
    pg.start().await.unwrap();
    assert_eq!(value(&pg.url(), "SELECT string_agg(n::text, ',') FROM kept").await, "1");
    let log = std::fs::read_to_string(pg.log()).unwrap();
    assert!(
        log.contains("database system was not properly shut down"),
        "it was no crash:\n{log}"
    );
}

#[tokio::test]
async fn setting_applies_after_reload() {
    let pg = Cluster::throwaway(Settings::default()).await.unwrap();
    pg.set("idle_session_timeout", "12345ms").await.unwrap();
    pg.reload().await.unwrap();
    assert_eq!(value(&pg.url(), "SHOW idle_session_timeout").await, "12345ms");
    assert!(pg.set("no such", "1").await.is_err());
    assert!(pg.set("search_path", "a\nfsync = on").await.is_err());
}

#[tokio::test]
async fn failed_start_shows_the_log() {
    let settings = Settings {
        parameters: vec![("no_such_parameter".into(), "1".into())],
        ..Settings::default()
    };
    let error = format!("{:#}", Cluster::throwaway(settings).await.expect_err("started"));
    assert!(
        error.contains("unrecognized configuration parameter \"no_such_parameter\""),
        "{error}"
    );
}

#[tokio::test]
async fn taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Cluster::throwaway(Settings {
        port: Some(port),
        ..Settings::default()
    })
    .await
    .expect_err("started");
    assert_eq!(error.to_string(), format!("port {port} is taken by another process"));
}

#[tokio::test]
async fn many_clusters_start_at_once() {
    let starts: Vec<_> = (0..6)
        .map(|_| tokio::spawn(Cluster::throwaway(Settings::default())))
        .collect();
    let mut clusters = Vec::new();
    for start in starts {
        clusters.push(start.await.unwrap().unwrap());
    }
    let mut systems = std::collections::BTreeSet::new();
    for pg in &clusters {
        systems.insert(pg.port());
        assert_eq!(
            value(&pg.url(), "SELECT current_setting('port')").await,
            pg.port().to_string()
        );
    }
    assert_eq!(systems.len(), clusters.len());
}

#[tokio::test]
async fn standby_catches_up_and_is_promoted() {
    let primary = Cluster::throwaway(Settings::default()).await.unwrap();
    execute(&primary.url(), "CREATE TABLE kept AS SELECT 1 AS n").await;
    let standby = primary.standby("standby_1", Replication::Asynchronous).await.unwrap();
    assert_ne!(primary.port(), standby.port());
    execute(&primary.url(), "INSERT INTO kept VALUES (2)").await;
    becomes(&standby.url(), "SELECT count(*)::text FROM kept", "2").await;
    let mut session = connect(&standby.url()).await;
    let refused = sqlx::query("INSERT INTO kept VALUES (3)")
        .execute(&mut session)
        .await
        .expect_err("a standby took a write");
    assert_eq!(
        refused.as_database_error().and_then(|error| error.code()).as_deref(),
        Some("25006")
    );

    primary.kill().await.unwrap();
    standby.promote().await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (3)")
        .execute(&mut session)
        .await
        .expect("the session goes on as a writer");
    assert_eq!(
        value(&standby.url(), "SELECT string_agg(n::text, ',' ORDER BY n) FROM kept").await,
        "1,2,3"
    );
    standby.restart(Shutdown::Fast).await.unwrap();
    assert_eq!(value(&standby.url(), "SELECT pg_is_in_recovery()::text").await, "false");
}

#[tokio::test]
async fn synchronous_standby_has_each_commit() {
    let primary = Cluster::throwaway(Settings::default()).await.unwrap();
    let standby = primary.standby("standby_1", Replication::Synchronous).await.unwrap();
    execute(
        &primary.url(),
        "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n",
    )
    .await;
    assert_eq!(
        value(&primary.url(), "SELECT sync_state FROM pg_stat_replication").await,
        "sync"
    );
    primary.kill().await.unwrap();
    standby.promote().await.unwrap();
    assert_eq!(value(&standby.url(), "SELECT count(*)::text FROM kept").await, "1000");
}

#[tokio::test]
async fn commit_waits_for_absent_standby() {
    let primary = Cluster::throwaway(Settings::default()).await.unwrap();
    let standby = primary.standby("standby_1", Replication::Synchronous).await.unwrap();
    standby.stop(Shutdown::Fast).await.unwrap();
    let url = primary.url();
    let commit = tokio::spawn(async move { execute(&url, "CREATE TABLE kept AS SELECT 1 AS n").await });
    let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    becomes(&primary.url(), waiting, "1").await;
    assert!(!commit.is_finished());
    standby.start().await.unwrap();
    tokio::time::timeout(BOUND, commit)
        .await
        .expect("the standby is back")
        .unwrap();
}

#[tokio::test]
async fn tls_certificate_is_verifiable() {
    let settings = Settings {
        tls: true,
        ..Settings::default()
    };
    let pg = Cluster::throwaway(settings.clone()).await.unwrap();
    let standby = pg.standby("standby_1", Replication::Asynchronous).await.unwrap();
    let other = Cluster::throwaway(settings).await.unwrap();
    for cluster in [&pg, &standby] {
        let authority = cluster.authority().unwrap().display().to_string();
        let verified = format!("{}?sslmode=verify-full&sslrootcert={authority}", cluster.url());
        assert_eq!(value(&verified, "SELECT 'in'").await, "in");
        let named = verified.replace("127.0.0.1", "localhost");
        assert_eq!(value(&named, "SELECT 'in'").await, "in");
    }
    let authority = other.authority().unwrap().display();
    let unknown = format!("{}?sslmode=verify-full&sslrootcert={authority}", pg.url());
    let error = PgConnection::connect(&unknown)
        .await
        .expect_err("trusted another authority's server");
    assert!(format!("{error:?}").contains("InvalidCertificate"), "{error:?}");
    assert_eq!(
        value(&format!("{}?sslmode=disable", pg.url()), "SELECT 'in'").await,
        "in"
    );

    let plain = Cluster::throwaway(Settings::default()).await.unwrap();
    assert_eq!(plain.authority(), None);
    let refused = PgConnection::connect(&format!("{}?sslmode=require", plain.url())).await;
    assert!(
        matches!(refused, Err(sqlx::Error::Tls(_))),
        "TLS where none was asked for"
    );
}

#[tokio::test]
async fn ipv6_listens_or_says_why_not() {
    let settings = Settings {
        ipv6: true,
        ..Settings::default()
    };
    let started = Cluster::throwaway(settings).await;
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let pg = started.unwrap();
        for host in ["127.0.0.1", "::1"] {
            let options: PgConnectOptions = pg.url().parse().unwrap();
            PgConnection::connect_with(&options.host(host)).await.expect(host);
        }
    } else {
        let error = started
            .expect_err("it listens on an address the machine has not")
            .to_string();
        assert!(error.contains("PostgreSQL cannot listen"), "{error}");
    }
}

/// Like root's clone below a private folder: the servers' account cannot enter it.
#[tokio::test]
async fn durable_cluster_runs_in_private_folder() {
    let above = tempfile::tempdir().unwrap();
    std::fs::set_permissions(above.path(), Permissions::from_mode(0o700)).unwrap();
    let folder = above.path().join("postgres");
    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    execute(&pg.url(), "CREATE TABLE kept AS SELECT 1 AS n").await;
    drop(pg);
    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    assert_eq!(value(&pg.url(), "SELECT n::text FROM kept").await, "1");
    drop(pg);
    let place = folder.canonicalize().unwrap();
    // Developers remove everything below `target/` to start again.
    if folder.is_symlink() {
        std::fs::remove_file(&folder).unwrap();
    } else {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    let tables = "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'";
    assert_eq!(value(&pg.url(), tables).await, "0");
    drop(pg);
    Cluster::remove(&folder).await.unwrap();
    assert!(folder.symlink_metadata().is_err() && !place.exists());
}

#[tokio::test]
async fn durable_cluster_keeps_data_and_url() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("target/local/postgres");
    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    let url = pg.url();
    assert_eq!(value(&url, "SHOW fsync").await, "on");
    execute(&url, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let in_use = Cluster::durable(&folder, Settings::default())
        .await
        .expect_err("two servers on one folder");
    assert!(
        in_use
            .to_string()
            .starts_with("another process is using the PostgreSQL in "),
        "{in_use}"
    );
    assert!(
        Cluster::remove(&folder).await.is_err(),
        "removed under a running server"
    );
    drop(pg);

    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    assert_eq!(pg.url(), url);
    assert_eq!(value(&url, "SELECT n::text FROM kept").await, "1");
    let log = std::fs::read_to_string(pg.log()).unwrap();
    assert!(
        !log.contains("not properly shut down"),
        "dropping it was a crash:\n{log}"
    );
    drop(pg);

    Cluster::remove(&folder).await.unwrap();
    assert!(folder.symlink_metadata().is_err());
    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    assert_eq!(
        value(
            &pg.url(),
            "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'"
        )
        .await,
        "0"
    );
    drop(pg);
    Cluster::remove(&folder).await.unwrap();
}

/// The variable with the folder of the durable cluster that the process to be killed starts.
const DOOMED: &str = "SEER_TEST_DOOMED";

#[tokio::test]
async fn killed_process_ends_its_servers() {
    if let Some(folder) = std::env::var_os(DOOMED) {
        return doomed(Path::new(&folder)).await;
    }
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("postgres");
    let mut doomed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_process_ends_its_servers", "--nocapture"])
        .env(DOOMED, &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(doomed.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let line = lines
        .into_iter()
        .find_map(|line| line.split_once("RUNNING ").map(|(_, rest)| rest.to_owned()));
    let line = line.expect("the process to be killed has started its servers");
    let [throwaway, durable, home] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    assert!(listens(throwaway.parse().unwrap()) && listens(durable.parse().unwrap()));

    doomed.kill().unwrap();
    doomed.wait().unwrap();
    let stopped = tokio::time::timeout(BOUND, async {
        while listens(throwaway.parse().unwrap()) || Path::new(home).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    stopped
        .await
        .expect("the throwaway server or its folder outlived its process");
    // The durable one may still be stopping: the next start waits for that, and finds that it was stopped in order.
    let pg = Cluster::durable(&folder, Settings::default()).await.unwrap();
    assert_eq!(pg.port().to_string(), durable);
    assert_eq!(value(&pg.url(), "SELECT n::text FROM kept").await, "1");
    let log = std::fs::read_to_string(pg.log()).unwrap();
    assert!(!log.contains("not properly shut down"), "{log}");
    drop(pg);
    Cluster::remove(&folder).await.unwrap();
}

async fn doomed(folder: &Path) {
    let pg = Cluster::throwaway(Settings::default()).await.unwrap();
    let kept = Cluster::durable(folder, Settings::default()).await.unwrap();
    execute(&kept.url(), "CREATE TABLE kept AS SELECT 1 AS n").await;
    println!(
        "RUNNING {} {} {}",
        pg.port(),
        kept.port(),
        pg.data().parent().unwrap().display()
    );
    // Until it is killed, or the test that started it has ended.
    let _ = std::io::stdin().read_line(&mut String::new());
}
