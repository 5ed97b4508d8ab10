//! Tests the commands as users run them: the real binary, a real PostgreSQL, the output and the exit code.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use local::gateway::DevelopmentKey;
use local::postgres::{Cluster, Settings, Shutdown};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

const SEER: &str = env!("CARGO_BIN_EXE_seer");

/// The timeout for events that should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

fn seer(arguments: &[&str]) -> Command {
    let mut command = Command::new(SEER);
    command.args(arguments).env_remove("DATABASE_URL").kill_on_drop(true);
    command
}

async fn migrate(url: &str) -> Output {
    seer(&["migrate"]).env("DATABASE_URL", url).output().await.unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the one line of a failure.
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    said
}

#[tokio::test]
async fn misplaced_url_is_not_echoed() {
    let url = "postgres://seer:hunter-two@db.example/seer?sslrootcert=/hidden";
    let (budget, json) = (format!("--budget={url}"), format!("--json={url}"));
    for arguments in [
        &["doctor", url][..],
        &["doctor", &budget],
        &["doctor", "--budget", url],
        &["doctor", &json],
        &["migrate", "seer:hunter-two@db.example/seer"],
    ] {
        let output = seer(arguments).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && said.contains('…'), "{said}");
        assert!(!said.contains("hunter-two") && !said.contains("hidden"), "{said}");
    }
}

#[tokio::test]
async fn concurrent_migrations_apply_once() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = cluster.url();
    let (one, other) = tokio::join!(migrate(&url), migrate(&url));
    let (one, other) = (printed(&one), printed(&other));
    let (worked, idle) = if one.starts_with("applied") {
        (one, other)
    } else {
        (other, one)
    };
    assert!(worked.lines().all(|line| line.starts_with("applied ")), "{worked}");
    assert_eq!(
        worked.lines().count(),
        shared::db::migrate::migrations(&functions::SERVICE).iter().count()
    );
    assert!(idle.starts_with("nothing to do"), "{idle}");
    assert!(printed(&migrate(&url).await).starts_with("nothing to do"));
}

#[tokio::test]
async fn migrate_waits_for_starting_server() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = cluster.url();
    cluster.stop(Shutdown::Fast).await.unwrap();
    // Connections are refused at least until the server has started, which takes longer than a connect.
    let (output, started) = tokio::join!(migrate(&url), cluster.start());
    started.unwrap();
    assert!(printed(&output).starts_with("applied"));
}

#[tokio::test]
async fn migrate_failure_shows_no_secret() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let said = error(&migrate(&cluster.url_of("absent")).await);
    assert!(
        said.contains("create the database") && !said.contains(cluster.password()),
        "{said}"
    );
    let said = error(&migrate(&format!("{}?schemer=secret", cluster.url())).await);
    assert!(
        said.contains("schemer") && !said.contains("secret") && !said.contains(cluster.password()),
        "{said}"
    );
    let said = error(&seer(&["migrate"]).output().await.unwrap());
    assert!(said.contains("DATABASE_URL: is not set"), "{said}");
}

#[tokio::test]
async fn token_is_accepted_by_local_key() {
    let arguments = [
        "token",
        "--sub",
        "someone",
        "--email",
        "some@example.com",
        "--name",
        "Some One",
    ];
    let output = seer(&arguments).output().await.unwrap();
    let key = Path::new(SEER).ancestors().nth(2).unwrap().join("local/key");
    let key = DevelopmentKey::load_or_create(&key).unwrap();
    let claims = key.verify(printed(&output).trim_end()).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["email"], &claims["name"]),
        (&"someone".into(), &"some@example.com".into(), &"Some One".into())
    );
}

#[tokio::test]
async fn openapi_document_matches_code() {
    printed(&seer(&["openapi", "--check"]).output().await.unwrap());
}

#[tokio::test]
async fn taken_port_is_reported_first() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let output = seer(&["local", "--port", &port]).output().await.unwrap();
    assert!(error(&output).contains(&format!("port {port} is taken")));
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[tokio::test]
async fn unknown_scenario_lists_known_ones() {
    let arguments = ["faults", "--only", "refused", "--only", "refuted"];
    let said = error(&seer(&arguments).output().await.unwrap());
    for name in ["\"refuted\"", "write-cut", "cold-1000"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let peers = ["faults", "--peers", "--only", "write-cut"];
    let said = error(&seer(&peers).output().await.unwrap());
    assert!(
        said.contains("blackholed-while-frozen") && !said.contains("cold-1000"),
        "{said}"
    );
}

/// Cargo is a script here that starts a compiler which never ends by itself, because a real build may be up to date.
#[tokio::test]
async fn build_ends_with_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let (cargo, compiling) = (folder.path().join("cargo"), folder.path().join("compiling"));
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = metadata ]; then exec '{}' \"$@\"; fi\n: >'{}'\nsleep 100\n",
        env!("CARGO"),
        compiling.display()
    );
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let faults = seer(&["faults"])
            .env("CARGO", &cargo)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = async {
            while std::fs::remove_file(&compiling).is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.unwrap();
        let id = Pid::from_raw(faults.id().unwrap().cast_signed()).unwrap();
        kill_process(id, signal).unwrap();
        // Its standard error ends when the compiler, which shares it, has ended too.
        let ended = tokio::time::timeout(PATIENCE, faults.wait_with_output());
        let output = ended.await.expect("the compiler runs on").unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("building ") && said.contains("minutes"), "{said}");
        assert!(said.ends_with("interrupted: nothing was played\n"), "{said}");
    }
}
