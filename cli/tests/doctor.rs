//! `cargo seer doctor` as an operator meets it: the real binary, real servers in every state that matters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; the other sessions are its own"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use local::postgres::{Cluster, Pooler, Replication, Settings, Shutdown};
use local::proxy::{Door, Proxy};
use local::secrets::{ARN, Manner, Secrets};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// What the issue promises of a server that hangs.
const PROMISED: Duration = Duration::from_secs(10);
/// More than any state here takes to come about on a loaded machine.
const BOUND: Duration = Duration::from_secs(60);

const HEALTHY: i32 = 0;
const WARNINGS: i32 = 1;
const FAILING: i32 = 2;
const UNREACHABLE: i32 = 3;

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seer"));
    command
        .arg("doctor")
        .args(arguments)
        .env("DATABASE_URL", url)
        .env_remove("PGOPTIONS")
        .kill_on_drop(true);
    command
}

/// Runs doctor within the promised time; what it prints never holds the password.
async fn run(url: &str, arguments: &[&str]) -> (i32, String) {
    let output = timeout(PROMISED, command(url, arguments).output())
        .await
        .expect("an answer within ten seconds")
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "");
    let password = url
        .split(':')
        .nth(2)
        .and_then(|rest| rest.split('@').next())
        .unwrap_or_default();
    assert!(password.len() > 8 && !said.contains(password), "{said}");
    (output.status.code().unwrap(), said)
}

/// The exit code and the first line, where the verdict is.
async fn verdict(url: &str) -> (i32, String) {
    let (code, said) = run(url, &[]).await;
    (code, said.lines().next().unwrap_or_default().to_owned())
}

async fn json(url: &str, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = [&["--json"], arguments].concat();
    let (code, said) = run(url, &arguments).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["exitCode"], code);
    report
}

fn ids(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// The commands of the finding of that name.
fn commands(report: &Value, id: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["id"] == id)
        .flat_map(|finding| finding["run"].as_array().unwrap())
        .map(|command| command.as_str().unwrap().to_owned())
        .collect()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn execute(url: &str, statement: &str) {
    let mut session = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut session)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    session.close().await.unwrap();
}

/// A throwaway server that keeps what it acknowledges: otherwise that is what doctor names first.
fn sound() -> Settings {
    let parameters = ["fsync", "full_page_writes"].map(|name| (name.to_owned(), "on".to_owned()));
    Settings {
        parameters: parameters.to_vec(),
        ..Settings::default()
    }
}

async fn migrated(settings: Settings) -> Cluster {
    let cluster = Cluster::throwaway(settings).await.unwrap();
    let url = cluster.url();
    let mut seer = Command::new(env!("CARGO_BIN_EXE_seer"));
    assert!(
        seer.arg("migrate")
            .env("DATABASE_URL", url)
            .output()
            .await
            .unwrap()
            .status
            .success()
    );
    cluster
}

/// A role of its own, and the URL to be it.
async fn role(cluster: &Cluster, name: &str) -> String {
    let password = format!("password-of-{name}");
    execute(
        &cluster.url(),
        &format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"),
    )
    .await;
    format!("postgres://{name}:{password}@127.0.0.1:{}/seer", cluster.port())
}

fn address(cluster: &Cluster) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], cluster.port()))
}

/// What guides for one long-lived server used to recommend, and what it leaves as it was.
fn old_guide() -> Settings {
    let parameters = [
        ("shared_buffers", "256MB"),
        ("work_mem", "4MB"),
        ("maintenance_work_mem", "64MB"),
        ("effective_cache_size", "1GB"),
        ("wal_buffers", "16MB"),
        ("checkpoint_completion_target", "0.7"),
        ("random_page_cost", "4.0"),
        ("password_encryption", "md5"),
        ("idle_in_transaction_session_timeout", "0"),
        ("tcp_keepalives_idle", "7200"),
        ("log_min_duration_statement", "-1"),
        ("synchronous_commit", "off"),
        ("autovacuum", "off"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
    ];
    Settings {
        max_connections: 100,
        tls: true,
        parameters: parameters
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..Settings::default()
    }
}

/// The lines of the page that are SQL for the settings, as they stand there.
fn settings_lines(page: &str) -> Vec<String> {
    let sql = [
        "ALTER SYSTEM ",
        "ALTER ROLE ",
        "ALTER DATABASE ",
        "CREATE EXTENSION ",
        "SELECT pg_reload_conf()",
    ];
    page.lines()
        .skip_while(|line| !line.contains("To apply"))
        .map(str::trim)
        .filter(|line| sql.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_an_old_guide_set_up_is_healthy_once_the_advice_is_applied_line_by_line() {
    let cluster = migrated(old_guide()).await;
    cluster.set("ssl", "off").await.unwrap();
    cluster.reload().await.unwrap();
    let url = cluster.url();
    // More than its slots, so that those are part of the advice too.
    let (code, page) = run(&url, &["--budget", "150"]).await;
    assert_eq!(code, FAILING, "{page}");
    assert!(page.starts_with("FAILING") && page.contains("acknowledged"), "{page}");

    let lines = settings_lines(&page);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("ALTER SYSTEM SET max_connections = 15")),
        "{page}"
    );
    let mut session = connect(&url).await;
    for line in lines {
        let sql = AssertSqlSafe(line.clone());
        sqlx::raw_sql(sql)
            .execute(&mut session)
            .await
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    session.close().await.unwrap();
    let waits = json(&url, &["--budget", "150"]).await;
    assert!(ids(&waits).contains(&"pending-restart"), "{waits:#}");
    assert!(page.contains("Then restart the server"), "{page}");
    cluster.restart(Shutdown::Fast).await.unwrap();

    let (code, page) = run(&url, &["--budget", "150"]).await;
    // A server this old is a finding of its own, and none of a guide's.
    if json(&url, &[]).await["state"]["supported"]["over"] == false {
        assert_eq!(code, HEALTHY, "{page}");
        assert!(page.starts_with("HEALTHY"), "{page}");
    }
    let report = json(&url, &["--budget", "150"]).await;
    let settings = report["settings"].as_array().unwrap().iter();
    let differing: Vec<_> = settings.filter(|setting| setting["compared"] == "differs").collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[tokio::test]
async fn the_page_and_the_json_say_the_same() {
    let cluster = migrated(sound()).await;
    execute(&cluster.url(), "DROP INDEX tasks_by_assignee").await;
    let report = json(&cluster.url(), &[]).await;
    let (code, page) = run(&cluster.url(), &[]).await;
    assert_eq!(report["exitCode"], code);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = words(&page);
    assert!(page.contains(&words(report["cause"].as_str().unwrap())), "{page}");
    for finding in report["findings"].as_array().unwrap() {
        assert!(
            page.contains(&words(finding["what"].as_str().unwrap())),
            "{finding}: {page}"
        );
    }
    for setting in report["settings"].as_array().unwrap() {
        if setting["compared"] == "fine" {
            assert!(setting["lines"].as_array().unwrap().is_empty(), "{setting}");
            continue;
        }
        assert!(page.contains(setting["name"].as_str().unwrap()), "{setting}: {page}");
        for line in setting["lines"].as_array().unwrap() {
            assert!(page.contains(line.as_str().unwrap()), "{setting}: {page}");
        }
    }
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    assert!(steps.iter().all(|step| step["outcome"] == "ok"), "{steps:#?}");
    assert!(page.contains("scram-sha-256 as seer"), "{page}");
}

#[tokio::test]
async fn a_saturated_server_is_named_by_who_gets_in_and_by_who_does_not() {
    let settings = Settings {
        max_connections: 8,
        ..sound()
    };
    let cluster = migrated(settings).await;
    let ordinary = role(&cluster, "ordinary").await;
    let billing = format!("{}?application_name=billing", role(&cluster, "billing").await);
    let mut others = Vec::new();
    while let Ok(session) = PgConnection::connect(&billing).await {
        others.push(session);
    }
    let (code, first) = verdict(&ordinary).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("saturated: every connection slot"), "{first}");
    let report = json(&cluster.url(), &[]).await;
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    let cause = report["cause"].as_str().unwrap();
    let holds = format!("{} by role billing, mostly billing", others.len());
    assert!(cause.contains("saturated") && cause.contains(&holds), "{report:#}");
    // Functions left nothing behind: there is nothing to end.
    let commands = commands(&report, "saturated");
    assert!(!commands.is_empty(), "{report:#}");
    assert!(
        commands.iter().all(|command| !command.contains("terminate")),
        "{report:#}"
    );
    drop(others);
}

#[tokio::test]
async fn what_ends_sessions_left_behind_ends_no_other() {
    let settings = Settings {
        max_connections: 12,
        ..sound()
    };
    let cluster = migrated(settings).await;
    let app = role(&cluster, "app").await;
    execute(&cluster.url(), "CREATE DATABASE shop").await;
    let shop = app.replace("/seer", "/shop");
    let named = |url: &str, name: &str| format!("{url}?application_name={name}");
    let mut observer = connect(&cluster.url_of("postgres")).await;
    let mut others = Vec::new();
    for url in [
        named(&app, "seer-meetings-get:12"),
        named(&app, "users-me:$LATEST"),
        named(&app, "billing"),
        named(&app, "psql"),
        named(&shop, "cart:3"),
    ] {
        others.push(connect(&url).await);
    }
    while let Ok(session) = PgConnection::connect(&named(&app, "filler")).await {
        others.push(session);
    }
    let report = json(&app, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    let line = commands(&report, "saturated").pop().unwrap();
    // A name that the URL gives to all of them is what they are known by.
    let of_a_name = commands(&json(&named(&app, "filler"), &[]).await, "saturated");
    assert!(
        of_a_name
            .iter()
            .any(|line| line.contains("application_name = 'filler'")),
        "{of_a_name:?}"
    );
    // Five minutes are not waited for here.
    let at_once = line.replace("interval '5 min'", "interval '0 s'");
    assert_ne!(at_once, line);
    let ended: i64 = sqlx::query_scalar(AssertSqlSafe(at_once))
        .fetch_one(&mut observer)
        .await
        .unwrap();
    assert_eq!(ended, 2, "{line}");
    drop(others);
}

#[tokio::test]
async fn the_last_slot_is_not_missed_by_functions_because_doctor_has_it() {
    let settings = Settings {
        max_connections: 8,
        ..sound()
    };
    let cluster = migrated(settings).await;
    let ordinary = role(&cluster, "ordinary").await;
    let mut others = Vec::new();
    while let Ok(session) = PgConnection::connect(&ordinary).await {
        others.push(session);
    }
    others.pop().unwrap().close().await.unwrap();
    let mut observer = connect(&cluster.url()).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ordinary'";
    let taken = i64::try_from(others.len()).unwrap();
    timeout(BOUND, async {
        while sqlx::query_scalar::<_, i64>(open)
            .fetch_one(&mut observer)
            .await
            .unwrap()
            > taken
        {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    observer.close().await.unwrap();
    let report = json(&ordinary, &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert!(ids(&report).contains(&"last-slot"), "{report:#}");
    drop(others);
}

#[tokio::test]
async fn a_role_at_its_own_limit_is_not_taken_for_a_full_server() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "limited").await;
    execute(&cluster.url(), "ALTER ROLE limited CONNECTION LIMIT 1").await;
    let only = connect(&url).await;
    let (code, first) = verdict(&url).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("saturated: role limited has used up"), "{first}");
    drop(only);
}

#[tokio::test]
async fn a_standby_is_read_only() {
    let cluster = migrated(sound()).await;
    let standby = cluster.standby("doctor", Replication::Asynchronous).await.unwrap();
    let (code, first) = verdict(&standby.url()).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(first.contains("read-only: this is a standby"), "{first}");
}

#[tokio::test]
async fn a_server_told_to_take_no_writes_is_read_only() {
    let cluster = migrated(sound()).await;
    cluster.set("default_transaction_read_only", "on").await.unwrap();
    cluster.reload().await.unwrap();
    let (code, first) = verdict(&cluster.url()).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(
        first.contains("read-only: default_transaction_read_only is on"),
        "{first}"
    );
}

#[tokio::test]
async fn a_log_in_that_is_refused_says_why() {
    let cluster = migrated(sound()).await;
    let wrong = cluster.url().replace(cluster.password(), "not-the-password");
    let (code, page) = run(&wrong, &[]).await;
    let first = page.lines().next().unwrap();
    assert_eq!(code, UNREACHABLE, "{page}");
    assert!(first.contains("wrong password for role seer"), "{first}");
    assert!(!page.contains(cluster.password()), "{page}");
    assert!(
        page.contains("FAIL  authentication") && page.contains("-     first query"),
        "{page}"
    );

    let (code, first) = verdict(&cluster.url_of("absent")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("there is no database absent"), "{first}");

    let url = role(&cluster, "barred").await;
    execute(&cluster.url(), "ALTER ROLE barred NOLOGIN").await;
    let (code, first) = verdict(&url).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("role barred is refused"), "{first}");
}

#[tokio::test]
async fn the_first_line_is_one_line_whatever_the_names_are() {
    let cluster = migrated(sound()).await;
    let (code, first) = verdict(&cluster.url_of("ab%0Asent%1B%5B31m")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(
        first.contains("there is no database ab sent [31m (SQLSTATE 3D000)"),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_way_to_log_in_that_functions_do_not_speak_is_named() {
    let cluster = migrated(sound()).await;
    let file = cluster.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("host all kerberized 127.0.0.1/32 gss\n{rules}")).unwrap();
    let url = role(&cluster, "kerberized").await;
    let mut session = connect(&cluster.url()).await;
    let wrong: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL")
        .fetch_one(&mut session)
        .await
        .unwrap();
    if wrong > 0 {
        eprintln!("not tested: Kerberos, because this build of PostgreSQL has none");
        return;
    }
    cluster.reload().await.unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    assert_eq!(ids(&report), ["auth-method"], "{report:#}");
}

#[tokio::test]
async fn a_malformed_url_is_named_without_its_value() {
    let url = "postgres://seer:a-long-password@127.0.0.1/seer?schemer=hidden-value";
    let (code, page) = run(url, &[]).await;
    assert_eq!(code, UNREACHABLE, "{page}");
    assert!(
        page.starts_with("CANNOT CONNECT: DATABASE_URL: parameter schemer"),
        "{page}"
    );
    assert!(!page.contains("hidden-value"), "{page}");
    // What is wrong is where it was given.
    let right = "postgres://seer:a-long-password@127.0.0.1/seer";
    let (code, page) = run(right, &["--url", url]).await;
    assert_eq!(code, UNREACHABLE, "{page}");
    assert!(page.starts_with("CANNOT CONNECT: --url: parameter schemer"), "{page}");
    assert!(
        !page.contains("DATABASE_URL") && !page.contains("hidden-value"),
        "{page}"
    );
}

#[tokio::test]
async fn the_first_line_names_what_hurts_most_and_counts_what_the_page_counts() {
    let cluster = migrated(sound()).await;
    let report = json(&cluster.url(), &["--budget", "500"]).await;
    let settings = report["settings"].as_array().unwrap().iter();
    let differing: Vec<_> = settings.filter(|setting| setting["compared"] == "differs").collect();
    let of = |level: &str| differing.iter().filter(|setting| setting["level"] == level).count();
    let (warn, tune) = (of("warn"), of("advice"));
    assert_eq!(differing[0]["name"], "max_connections", "{report:#}");
    // What functions set for their own sessions is no warning.
    let level = |name: &str| differing.iter().find(|setting| setting["name"] == name).unwrap()["level"].clone();
    assert_eq!(level("idle_session_timeout"), "advice");
    // A server of a version that is over is a warning too.
    let found = report["findings"].as_array().unwrap().iter();
    let warnings = warn + found.filter(|finding| finding["level"] == "warn").count();
    let counted = format!(
        "{} settings differ from what the fleet needs ({warn} warn, {tune} tune)",
        warn + tune
    );
    let (_, page) = run(&cluster.url(), &["--budget", "500"]).await;
    assert!(page.contains(&counted), "{counted}: {page}");
    assert!(page.contains(&format!("({warnings} warnings in all)")), "{page}");
}

#[tokio::test]
async fn a_secret_says_who_logs_in_and_one_that_is_refused_is_named() {
    let cluster = migrated(sound()).await;
    let held = serde_json::json!({
        "username": "seer", "password": cluster.password(), "host": "127.0.0.1", "port": cluster.port(),
        "dbname": "seer",
    });
    let secrets = Secrets::start(&held.to_string()).await.unwrap();
    let look = async || {
        let mut doctor = command("postgres://ignored:ignored-password@nowhere.invalid/x", &["--json"]);
        doctor
            .args(["--secret-arn", ARN, "--url", "postgres:///?sslmode=prefer"])
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.url())
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret-of-the-role")
            .env("AWS_SESSION_TOKEN", "session");
        let output = timeout(PROMISED, doctor.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        for secret in [cluster.password(), "ignored-password", "secret-of-the-role"] {
            assert!(!said.contains(secret), "{said}");
        }
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let report = look().await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert_eq!(report["target"], format!("127.0.0.1:{}/seer as seer", cluster.port()));
    for (manner, cause) in [
        (Manner::Denied, "no-credential"),
        (Manner::Silent, "secret-unreachable"),
    ] {
        secrets.answer(manner);
        let report = look().await;
        assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
        let told = report["cause"].as_str().unwrap();
        assert!(
            told.starts_with(&format!("no credential to log in with: {cause}")),
            "{report:#}"
        );
    }
}

#[tokio::test]
async fn each_way_not_to_be_reached_has_its_own_name() {
    let cluster = migrated(sound()).await;
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    assert_ne!(verdict(&url).await.0, UNREACHABLE);
    for (door, cause) in [
        (Door::Refused, "refuses connections: nothing listens there"),
        (Door::Swallowed, "does not answer: no reply to a TCP connect"),
        (
            Door::Held,
            "accepts TCP but stays silent: no answer to the request for TLS",
        ),
        (Door::Reset, "accepts TCP and closes it"),
    ] {
        proxy.set_door(door).await;
        let (code, first) = verdict(&url).await;
        assert_eq!(code, UNREACHABLE, "{door:?}: {first}");
        assert!(first.contains(cause), "{door:?}: {first}");
    }
    let nowhere = url.replace("127.0.0.1", "no-such-host.invalid");
    let (code, first) = verdict(&nowhere).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(
        first.contains("the name no-such-host.invalid does not resolve"),
        "{first}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_after_the_log_in_is_given_up_on() {
    let cluster = migrated(sound()).await;
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    let (report, ()) = tokio::join!(json(&url, &[]), async {
        // The probe and the session; the third is the function's own way, and by then there are answers.
        while proxy.counts().opened < 3 {
            sleep(Duration::from_millis(1)).await;
        }
        proxy.silence();
    });
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    let said = ids(&report);
    assert!(
        said.contains(&"silent") || said.contains(&"functions-refused"),
        "{report:#}"
    );
}

#[tokio::test]
async fn of_all_that_is_wrong_the_silence_is_named_first() {
    let cluster = migrated(sound()).await;
    cluster.set("default_transaction_read_only", "on").await.unwrap();
    cluster.reload().await.unwrap();
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    proxy.set_delay(Duration::from_millis(20), Duration::ZERO);
    let mut observer = connect(&cluster.url()).await;
    let (report, ()) = tokio::join!(json(&url, &[]), async {
        let locks = "SELECT count(*) FROM pg_stat_activity \
                     WHERE application_name = 'seer doctor' AND query LIKE '%pg_locks WHERE NOT granted%'";
        while sqlx::query_scalar::<_, i64>(locks)
            .fetch_one(&mut observer)
            .await
            .unwrap()
            == 0
        {
            sleep(Duration::from_millis(1)).await;
        }
        proxy.silence();
    });
    assert!(ids(&report).contains(&"read-only"), "{report:#}");
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.starts_with("the server stopped answering"), "{report:#}");
}

#[tokio::test]
async fn a_server_too_slow_to_be_asked_everything_is_told_apart_from_one_without_trouble() {
    let cluster = migrated(sound()).await;
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    proxy.set_delay(Duration::from_millis(60), Duration::ZERO);
    let report = json(&url, &[]).await;
    assert!(ids(&report).contains(&"slow"), "{report:#}");
    let (_, page) = run(&url, &[]).await;
    assert!(page.contains("not asked: no answers any more"), "{page}");
}

/// Replaces the server's certificate by one for `name` that ends in `year`, and returns the authority's file.
async fn certify(cluster: &Cluster, folder: &Path, name: &str, year: i32) -> String {
    let (key, mut authority) = (KeyPair::generate().unwrap(), CertificateParams::new([]).unwrap());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new([name.to_owned()]).unwrap();
    server.not_before = date_time_ymd(2020, 1, 1);
    server.not_after = date_time_ymd(year, 1, 1);
    let server = server.signed_by(&server_key, &issuer).unwrap().pem();
    // Written over, so that owner and mode stay.
    std::fs::write(cluster.data().join("server.crt"), server).unwrap();
    std::fs::write(cluster.data().join("server.key"), server_key.serialize_pem()).unwrap();
    cluster.reload().await.unwrap();
    let file = folder.join("authority.pem");
    std::fs::write(&file, root).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn tls_is_looked_at_and_a_bad_certificate_is_described() {
    let settings = Settings { tls: true, ..sound() };
    let cluster = migrated(settings).await;
    let url = cluster.url();
    let authority = cluster.authority().unwrap().to_str().unwrap().to_owned();
    let verified = |root: &str| format!("{url}?sslmode=verify-full&sslrootcert={root}");
    let report = json(&verified(&authority), &[]).await;
    assert_ne!(report["exitCode"], UNREACHABLE, "{report:#}");
    let detail = report["steps"][3]["detail"].as_str().unwrap();
    assert!(detail.starts_with("TLSv1.3; verify-full passes; until "), "{detail}");
    assert!(detail.ends_with("issued by CN=Seer's local PostgreSQL"), "{detail}");
    let (code, first) = verdict(&format!("{url}?sslmode=verify-full")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("issuer is not among the trusted authorities"), "{first}");

    let mut session = connect(&url).await;
    let own: String = sqlx::query_scalar("SELECT current_setting('ssl')")
        .fetch_one(&mut session)
        .await
        .unwrap();
    if own == "off" {
        eprintln!("not tested: bad certificates, because this build of PostgreSQL has no TLS");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, year, cause) in [
        (
            "db.example",
            2040,
            "the certificate is for db.example, not for this host",
        ),
        ("127.0.0.1", 2021, "the certificate expired on 2021-01-01"),
    ] {
        let root = certify(&cluster, folder.path(), name, year).await;
        let (code, first) = verdict(&verified(&root)).await;
        assert_eq!(code, UNREACHABLE, "{first}");
        assert!(first.contains(cause), "{first}");
    }
    let (_, page) = run(&format!("{url}?sslmode=require"), &[]).await;
    assert!(
        page.contains("the server's certificate expired on 2021-01-01"),
        "{page}"
    );
}

#[tokio::test]
async fn tls_that_is_demanded_and_not_offered_is_named() {
    let cluster = migrated(sound()).await;
    let (code, first) = verdict(&format!("{}?sslmode=require", cluster.url())).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("offers no TLS, and sslmode insists on it"), "{first}");
}

#[tokio::test]
async fn a_role_that_may_only_connect_is_told_what_it_cannot_see() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "guest").await;
    execute(&cluster.url(), "REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
    let other = connect(&cluster.url()).await;
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    let state = &report["state"];
    assert_eq!(state["sessions"]["othersNotVisible"], "GRANT pg_monitor TO guest;");
    assert!(state["connections"]["used"].as_i64().unwrap() >= 1, "{state:#}");
    assert!(state["passwordHashes"]["notVisible"].is_string(), "{state:#}");
    assert!(
        report["schema"]["migrations"]["notVisible"]
            .as_str()
            .unwrap()
            .contains("TO guest;"),
        "{report:#}"
    );
    let settings = report["settings"].as_array().unwrap();
    let preload = settings
        .iter()
        .find(|setting| setting["name"] == "shared_preload_libraries");
    assert!(
        preload.is_none_or(|setting| setting["compared"] == "not-visible"),
        "{preload:?}"
    );
    let (_, page) = run(&url, &[]).await;
    assert!(
        page.contains("not visible to this role: GRANT USAGE ON SCHEMA public TO guest;"),
        "{page}"
    );

    // What it may see once it is granted, it sees.
    execute(
        &cluster.url(),
        "GRANT pg_monitor TO guest; ALTER ROLE guest SET statement_timeout = '30s'",
    )
    .await;
    let report = json(&url, &[]).await;
    assert!(report["state"]["sessions"]["othersNotVisible"].is_null(), "{report:#}");
    drop(other);
}

#[tokio::test]
async fn a_limit_for_the_application_role_is_the_roles_own() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    let report = json(&url, &[]).await;
    let line = |report: &Value| {
        let settings = report["settings"].as_array().unwrap().iter();
        let mut found = settings.filter(|setting| setting["name"] == "statement_timeout");
        found
            .next()
            .map(|setting| (setting["compared"].clone(), setting["lines"][0].clone()))
            .unwrap()
    };
    let (compared, sql) = line(&report);
    assert_eq!(compared, "differs");
    assert_eq!(sql, "ALTER ROLE app SET statement_timeout = '30s';");
    execute(&cluster.url(), sql.as_str().unwrap()).await;
    assert_eq!(line(&json(&url, &[]).await).0, "fine");
    // And one that a role overrides is changed where it is overridden.
    execute(&cluster.url(), "ALTER ROLE app SET idle_session_timeout = 0").await;
    let (_, page) = run(&url, &[]).await;
    assert!(
        page.contains("ALTER ROLE app SET idle_session_timeout = '15min';"),
        "{page}"
    );
}

#[tokio::test]
async fn a_managed_server_gets_lines_for_its_parameter_group() {
    let cluster = migrated(sound()).await;
    execute(&cluster.url(), "CREATE ROLE rds_superuser").await;
    let (_, page) = run(&cluster.url(), &[]).await;
    assert!(
        page.contains("idle_session_timeout: \"900000\"") && page.contains("jit: \"0\""),
        "{page}"
    );
    assert!(!page.contains("ALTER SYSTEM"), "{page}");
}

#[tokio::test]
async fn what_lets_others_in_without_a_proof_is_named_and_what_lets_this_machine_in_is_not() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    assert!(!ids(&json(&url, &[]).await).contains(&"pg-hba"));
    let file = cluster.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    let line = rules.lines().count() + 1;
    std::fs::write(&file, format!("{rules}host all all 10.0.0.0/8 trust\n")).unwrap();
    execute(
        &url,
        "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'a-password'",
    )
    .await;
    let (_, page) = run(&url, &[]).await;
    assert!(
        page.contains(&format!(
            "lines of pg_hba.conf that let others in without a password: {line}"
        )),
        "{page}"
    );
    assert!(page.contains("passwords kept as md5 hashes: old"), "{page}");
}

#[tokio::test]
async fn an_application_role_with_fewer_connections_than_the_fleet_needs_is_told() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    execute(&cluster.url(), "ALTER ROLE app CONNECTION LIMIT 40").await;
    let report = json(&url, &["--budget", "50"]).await;
    assert_eq!(
        commands(&report, "role-budget"),
        ["ALTER ROLE app CONNECTION LIMIT 50;"]
    );
    execute(&cluster.url(), "ALTER ROLE app CONNECTION LIMIT 50").await;
    assert!(!ids(&json(&url, &["--budget", "50"]).await).contains(&"role-budget"));
}

#[tokio::test]
async fn every_index_that_is_missing_is_named_with_the_statement_that_makes_it() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    assert!(!ids(&json(&url, &[]).await).contains(&"missing-index"));
    let mut session = connect(&url).await;
    let made: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE c.relnamespace = 'public'::regnamespace \
         AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid) ORDER BY 1",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    for index in &made {
        execute(&url, &format!("DROP INDEX {index}")).await;
    }
    let report = json(&url, &[]).await;
    let mut missing: Vec<&str> = report["schema"]["indexes"]["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    missing.sort_unstable();
    assert_eq!(missing, made);
    assert!(ids(&report).contains(&"foreign-key"), "{report:#}");
    for statement in commands(&report, "missing-index") {
        execute(&url, &statement).await;
    }
    let report = json(&url, &[]).await;
    for id in ["missing-index", "foreign-key", "invalid-index"] {
        assert!(!ids(&report).contains(&id), "{report:#}");
    }
}

#[tokio::test]
async fn migrations_that_are_pending_or_unknown_are_named() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let (code, first) = verdict(&cluster.url()).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(first.contains("no migration was ever applied"), "{first}");
    let cluster = migrated(sound()).await;
    execute(
        &cluster.url(),
        "UPDATE _sqlx_migrations SET version = 9999 WHERE version = 4; \
         UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1",
    )
    .await;
    let report = json(&cluster.url(), &[]).await;
    let said = ids(&report);
    for id in ["pending-migrations", "newer-schema", "changed-migrations"] {
        assert!(said.contains(&id), "{id}: {report:#}");
    }
    assert_eq!(report["schema"]["migrations"]["pending"][0], "0004 idempotency keys");
}

#[tokio::test]
async fn who_blocks_whom_is_seen() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    let mut holder = connect(&format!("{url}?application_name=holder")).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE meetings")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut waiter = connect(&url).await;
    let waiting = tokio::spawn(async move {
        sqlx::raw_sql("SELECT 'a-secret' FROM meetings")
            .execute(&mut waiter)
            .await
    });
    let mut observer = connect(&url).await;
    timeout(BOUND, async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        while sqlx::query_scalar::<_, i64>(waits)
            .fetch_one(&mut observer)
            .await
            .unwrap()
            == 0
        {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["state"]["locks"]["waiting"], 1, "{report:#}");
    assert_eq!(
        report["state"]["locks"]["blockers"],
        serde_json::json!({ "holder": pid }),
        "{report:#}"
    );
    assert_eq!(report["state"]["oldestTransaction"]["pid"], pid, "{report:#}");
    assert_eq!(report["state"]["oldestTransaction"]["blocks"], 1, "{report:#}");
    let (_, page) = run(&url, &[]).await;
    assert!(!page.contains("a-secret"), "{page}");
    holder.close().await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pooler_that_the_url_does_not_mention_is_found_out() {
    if Pooler::find().is_none() {
        eprintln!("not tested: a pooler in between, because pgbouncer is not installed");
        return;
    }
    let cluster = migrated(sound()).await;
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 5).await.unwrap();
    let url = cluster
        .url()
        .replace(&address(&cluster).to_string(), &pooler.address().to_string());
    let (code, first) = verdict(&url).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(first.contains("functions cannot connect: pooler"), "{first}");
    let report = json(&format!("{url}?pgbouncer=true"), &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert!(report["url"].as_str().unwrap().contains("pgbouncer=true"), "{report:#}");
}

#[tokio::test]
async fn what_a_pooler_refuses_or_keeps_waiting_is_named() {
    if Pooler::find().is_none() {
        eprintln!("not tested: a pooler's refusals, because pgbouncer is not installed");
        return;
    }
    let cluster = migrated(sound()).await;
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 1).await.unwrap();
    let through = |url: String| {
        let url = url.replace(&address(&cluster).to_string(), &pooler.address().to_string());
        format!("{url}?pgbouncer=true")
    };
    let url = through(cluster.url());
    let wrong = url.replace(cluster.password(), "not-the-password");
    for (url, id) in [(wrong, "auth"), (through(cluster.url_of("absent")), "no-database")] {
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
        assert_eq!(ids(&report), [id], "{report:#}");
    }
    let options: PgConnectOptions = url.replace("?pgbouncer=true", "").parse().unwrap();
    let mut holder = PgConnection::connect_with(&options.extra_float_digits(None))
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1").execute(&mut holder).await.unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    assert!(ids(&report).contains(&"pool-busy"), "{report:#}");
    drop(holder);
}

#[tokio::test]
async fn watch_looks_again_and_sees_the_server_go() {
    let cluster = migrated(sound()).await;
    let mut watching = command(&cluster.url(), &["--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = timeout(BOUND, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(next().await["exitCode"], WARNINGS);
    cluster.stop(Shutdown::Fast).await.unwrap();
    let report = timeout(BOUND, async {
        loop {
            let report = next().await;
            if report["exitCode"] == UNREACHABLE {
                return report;
            }
        }
    });
    assert_eq!(ids(&report.await.unwrap()), ["refused"]);
    watching.kill().await.unwrap();
}
