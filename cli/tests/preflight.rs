//! Tests `cargo seer preflight` as operators run it, with an `aws` that replays recorded answers.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; PATH is the shell's, no configuration"
)]

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

/// A key that an issuer publishes.
const KEY: &str = include_str!("../../tests/preflight/key.json");

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/preflight")
}

/// Returns the ARN of a recorded secret.
fn arn(secret: &str) -> String {
    format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:seer/{secret}-AbCdEf")
}

/// An issuer on this machine, whose discovery document is of `named`, or of itself.
async fn issuer(named: Option<&str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let issuer = named.unwrap_or(&url);
    let discovery = format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{url}/keys"}}"#);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let read = connection.read(&mut request).await.unwrap();
            let asked = String::from_utf8_lossy(&request[..read]).into_owned();
            let body = if asked.starts_with("GET /keys ") {
                KEY
            } else {
                &discovery
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

/// A run of the command.
struct Run {
    output: Output,
    /// The questions that `aws` was asked, in alphabetical order.
    asked: Vec<String>,
}

impl Run {
    /// Runs it with the answers of a scenario, for parameters and options.
    async fn of(scenario: &str, arguments: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let mut path = recorded().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_seer"));
        command
            .arg("preflight")
            .env("PATH", path)
            .env("ANSWERS", recorded().join(scenario))
            .env("ASKED", &asked)
            .kill_on_drop(true);
        for argument in arguments {
            if argument.starts_with("--") {
                command.arg(argument);
            } else {
                command.args(["--param", argument]);
            }
        }
        let output = command.output().await.unwrap();
        let asked = std::fs::read_to_string(asked).unwrap_or_default();
        let mut asked: Vec<_> = asked.lines().map(str::to_owned).collect();
        asked.sort_unstable();
        Self { output, asked }
    }

    fn printed(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    /// Asserts that nothing has to be changed, and returns what was printed.
    fn ready(&self) -> String {
        assert_eq!(self.output.status.code(), Some(0), "{:?}", self.output);
        let printed = self.printed();
        assert!(!printed.contains("to change"), "{printed}");
        printed
    }

    /// Asserts that it ends with these sentences, of which each is on the line of its check too.
    fn ends_with(&self, todo: &[&str]) -> String {
        assert_eq!(self.output.status.code(), Some(1), "{:?}", self.output);
        let error = String::from_utf8(self.output.stderr.clone()).unwrap();
        assert_eq!(error, format!("error: not ready: {}\n", todo.join("; ")));
        let printed = self.printed();
        let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("to change ")).collect();
        assert_eq!(lines.len(), todo.len(), "{printed}");
        for (line, todo) in lines.iter().zip(todo) {
            assert!(line.ends_with(todo), "{line}");
        }
        printed
    }
}

/// The parameters of a deploy to which nothing is wrong.
async fn good() -> Vec<String> {
    vec![
        format!("JwtIssuer={}", issuer(None).await),
        "JwtAudience=seer".to_owned(),
        format!("WebhookSecretArn={}", arn("webhook")),
    ]
}

/// [`good`], with others in their place or beside them.
async fn with(others: &[&str]) -> Vec<String> {
    let mut arguments = good().await;
    for other in others {
        let (name, _) = other.split_once('=').unwrap();
        arguments.retain(|argument| !argument.starts_with(&format!("{name}=")));
        arguments.push((*other).to_owned());
    }
    arguments
}

/// The questions are those of `questions.txt`, which `tests/deploying.py` compares with the services.
#[tokio::test]
async fn good_deploy_is_ready() {
    let run = Run::of("answers", &good().await).await;
    let printed = run.ready();
    assert_eq!(
        printed.lines().filter(|line| line.starts_with("ok ")).count(),
        10,
        "{printed}"
    );
    assert!(
        printed.ends_with("Nothing has to be changed; 1 not checked.\n"),
        "{printed}"
    );
    let expected = std::fs::read_to_string(recorded().join("questions.txt")).unwrap();
    assert_eq!(run.asked, expected.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn database_of_yours_needs_its_secrets() {
    let owner = arn("owner");
    let parameters = [
        "DatabaseAddress=db.example.com:5432/seer?sslmode=verify-full".to_owned(),
        format!("MigrationsSecretArn={owner}"),
        format!("DatabaseSecretArn={owner}"),
    ];
    let own: Vec<_> = parameters.iter().map(String::as_str).collect();
    let printed = Run::of("answers", &with(&own).await).await.ready();
    assert!(printed.contains("DatabaseSecretArn has the right shape"), "{printed}");
    assert!(!printed.contains("Aurora"), "{printed}");
    let wrong = format!("DatabaseSecretArn={}", arn("no-user"));
    let run = Run::of("answers", &with(&[&own[..2], &[&wrong]].concat()).await).await;
    let printed = run
        .ends_with(&["store {\"username\": …, \"password\": …} as the secret, with host, port and dbname or without"]);
    assert!(
        printed.contains("no field username") && !printed.contains("zebra"),
        "{printed}"
    );
}

#[tokio::test]
async fn new_account_has_too_small_a_quota() {
    let quota =
        "deploy with ReservedConcurrency=0, or have Service Quotas raise \"Concurrent executions\" of Lambda to ";
    let backup = "run `aws backup update-region-settings --resource-type-opt-in-preference Aurora=true`";
    let run = Run::of("new-account", &good().await).await;
    let printed = run.printed();
    let line = printed.lines().find(|line| line.contains("concurrency")).unwrap();
    let (_, needed) = line.split_once(quota).unwrap();
    run.ends_with(&[&format!("{quota}{needed}"), backup]);
    let run = Run::of("new-account", &with(&["ReservedConcurrency=0"]).await).await;
    run.ends_with(&[backup]);
}

#[tokio::test]
async fn wrong_region_is_refused() {
    let run = Run::of("wrong-region", &good().await).await;
    run.ends_with(&[
        "set AWS_REGION and AWS_DEFAULT_REGION to a region whose authority is in \
         shared/src/config/database_url/rds-roots.pem, or add this one's there from Amazon's bundle",
        "deploy the database with AuroraVersion=18.3",
        "deploy to a region that offers db.serverless in two zones",
        "make the secret in il-central-1, or set AWS_REGION and AWS_DEFAULT_REGION to us-east-1",
    ]);
}

#[tokio::test]
async fn missing_version_or_zone_names_another() {
    let run = Run::of("answers", &with(&["AuroraVersion=18.9"]).await).await;
    run.ends_with(&["deploy the database with AuroraVersion=18.4"]);
    let run = Run::of("answers", &with(&["AvailabilityZones=us-east-1c,us-east-1d"]).await).await;
    let printed = run.ends_with(&["deploy the database with AvailabilityZones=us-east-1a,us-east-1b"]);
    assert!(printed.contains("us-east-1d does not offer"), "{printed}");
}

#[tokio::test]
async fn unreachable_issuer_is_refused() {
    // Nothing listens there.
    let url = "JwtIssuer=https://127.0.0.1:9";
    let todo = "set JwtIssuer to the issuer whose /.well-known/openid-configuration can be fetched from the internet";
    let printed = Run::of("answers", &with(&[url]).await).await.ends_with(&[todo]);
    assert!(printed.contains("cannot reach https://127.0.0.1:9"), "{printed}");
    let other = issuer(Some("https://other.example.com")).await;
    let run = Run::of("answers", &with(&[&format!("JwtIssuer={other}")]).await).await;
    run.ends_with(&["set JwtIssuer=https://other.example.com, exactly as its tokens have it"]);
}

#[tokio::test]
async fn refused_token_names_the_audience() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no token").unwrap();
    let option = format!("--token-file={}", file.path().display());
    let run = Run::of("answers", &[good().await, vec![option]].concat()).await;
    run.ends_with(&[
        "let the issuer's tokens have one of JwtAudience as their aud, or set JwtAudience to what they have",
    ]);
}

#[tokio::test]
async fn long_stack_name_is_refused() {
    let name = format!("--stack-name={}", "s".repeat(38));
    let run = Run::of("answers", &[good().await, vec![name]].concat()).await;
    let printed = run.ends_with(&["give the stack a name of 37 characters at most, in samconfig.toml"]);
    assert!(
        printed.contains("-meetings-with-team-members would have 65 characters, of which AWS allows 64"),
        "{printed}"
    );
    let name = format!("--stack-name={}", "s".repeat(37));
    Run::of("answers", &[good().await, vec![name]].concat()).await.ready();
}

#[tokio::test]
async fn secret_of_another_shape_is_refused() {
    let todo = "store one or more of whsec_…, api-key:… and mb-secret:…, with commas, as the whole text of the secret";
    for (secret, found) in [("pairs", "must be base64"), ("short", "24 bytes")] {
        let webhook = format!("WebhookSecretArn={}", arn(secret));
        let printed = Run::of("answers", &with(&[&webhook]).await).await.ends_with(&[todo]);
        assert!(printed.contains(found) && !printed.contains("MfKQ9r8"), "{printed}");
    }
    let absent = format!("WebhookSecretArn={}", arn("absent"));
    let run = Run::of("answers", &with(&[&absent]).await).await;
    run.ends_with(&["set WebhookSecretArn to the whole ARN, with the six characters at its end"]);
    // Who may not read it can still deploy.
    let denied = format!("WebhookSecretArn={}", arn("denied"));
    let printed = Run::of("answers", &with(&[&denied]).await).await.ready();
    assert!(
        printed.contains("not checked  secrets") && printed.contains("AccessDenied"),
        "{printed}"
    );
}

#[tokio::test]
async fn missing_log_in_is_named() {
    let run = Run::of("no-log-in", &good().await).await;
    run.ends_with(&["log in to the account with `aws configure sso` or `aws configure`"]);
}
