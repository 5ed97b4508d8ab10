//! Tests `cargo seer doctor` as operators run it: the real binary, and real servers in every relevant state.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; the other sessions are its own"
)]

mod functions;
mod pooler;
mod reach;
mod report;
mod schema;
mod settings;
mod slots;
mod state;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use local::postgres::{Cluster, Settings};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::Command;
use tokio::time::timeout;

/// The time limit that doctor guarantees in any state of the server.
const PROMISED: Duration = Duration::from_secs(10);
/// More than any state here needs to come about on a loaded machine.
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

/// Runs doctor within its time limit; its output never contains the password.
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

/// Returns the exit code and the first line, which has the verdict.
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

/// Returns the commands of the finding of that name.
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

/// Starts a throwaway server with durable commits: otherwise doctor reports the missing durability first.
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

/// Creates a role, and returns the URL to log in as it.
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
