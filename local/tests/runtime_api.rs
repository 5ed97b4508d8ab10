//! The Runtime API, tested with a hand-written runtime: its answers, long polls and rejections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm
)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use local::lambda::{Environment, Function, Invocation, Lambda, Options, Outcome, Phase};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longer than anything here takes; reached only if something hangs.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next";
const REGISTER: &str = "POST /2020-01-01/extension/register";
const EXTENSION_NEXT: &str = "GET /2020-01-01/extension/event/next";

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG_TIMEOUT, future).await.expect("it hangs")
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        &found.unwrap_or_else(|| panic!("no header {name}")).1
    }

    fn error_type(&self) -> String {
        let report: Value = serde_json::from_str(&self.body).unwrap();
        report["errorType"].as_str().unwrap().to_owned()
    }
}

/// A started invocation and the environment that was started for it.
struct Scene {
    invocation: JoinHandle<Invocation>,
    environment: Arc<Environment>,
    runtime_api: String,
    lambda: Arc<Lambda>,
}

async fn scene(timeout: Duration) -> Scene {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/silent.sh");
    let function = Function {
        timeout,
        ..Function::new("silent", script)
    };
    let lambda = Arc::new(Lambda::start([function], Options::default()).unwrap());
    let invocation = invoke(&lambda);
    let (environment, runtime_api) = within(async {
        loop {
            if let Some(environment) = lambda.environments("silent").pop()
                && let Some(line) = environment.log().pop()
            {
                return (environment, line);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    Scene {
        invocation,
        environment,
        runtime_api,
        lambda,
    }
}

fn invoke(lambda: &Arc<Lambda>) -> JoinHandle<Invocation> {
    let lambda = Arc::clone(lambda);
    tokio::spawn(async move { lambda.invoke("silent", json!({"n": 1})).await.unwrap() })
}

impl Scene {
    /// Sends a request; the answer is awaited concurrently with the test.
    fn ask(&self, line: &str, headers: &str, body: &str) -> JoinHandle<Answer> {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: runtime\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        let address = self.runtime_api.clone();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let mut lines = head.lines();
            let status = lines.next().unwrap().split(' ').nth(1).unwrap();
            let headers = lines.map(|line| line.split_once(": ").unwrap());
            Answer {
                status: status.parse().unwrap(),
                headers: headers
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                body: body.to_owned(),
            }
        })
    }

    async fn next(&self) -> Answer {
        within(self.ask(NEXT, "", "")).await.unwrap()
    }

    async fn respond(&self, request_id: &str, body: &str) -> Answer {
        let line = format!("POST /2018-06-01/runtime/invocation/{request_id}/response");
        within(self.ask(&line, "", body)).await.unwrap()
    }
}

#[tokio::test]
async fn next_event_ends_the_invocation() {
    let scene = scene(Duration::from_secs(30)).await;
    let event = scene.next().await;
    assert_eq!((event.status, event.body.as_str()), (200, r#"{"n":1}"#));
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:silent";
    assert_eq!(event.header("lambda-runtime-invoked-function-arn"), arn);
    assert!(event.header("lambda-runtime-trace-id").starts_with("Root=1-"));
    assert!(event.header("lambda-runtime-deadline-ms").parse::<u64>().is_ok());
    let request_id = event.header("lambda-runtime-aws-request-id").to_owned();

    assert_eq!(scene.respond(&request_id, "42").await.status, 202);
    let again = scene.respond(&request_id, "43").await;
    assert_eq!((again.status, again.error_type().as_str()), (400, "InvalidRequestID"));
    assert_eq!(scene.environment.in_flight(), 1);
    assert!(!scene.invocation.is_finished(), "over before the runtime is back");
    assert!(!scene.environment.is_frozen(), "frozen before the runtime is back");

    let next = scene.ask(NEXT, "", "");
    let invocation = within(scene.invocation).await.unwrap();
    assert_eq!(invocation.request_id, request_id);
    assert_eq!(invocation.outcome, Outcome::Success("42".into()));
    assert!(scene.environment.until_frozen().await);
    assert!(!next.is_finished(), "the long poll was answered without an event");

    let second = invoke(&scene.lambda);
    let event = within(next).await.unwrap();
    assert_ne!(event.header("lambda-runtime-aws-request-id"), request_id);
    assert!(!scene.environment.is_frozen());
    second.abort();
}

#[tokio::test]
async fn absent_runtime_loses_environment() {
    let scene = scene(Duration::from_secs(1)).await;
    let event = scene.next().await;
    let request_id = event.header("lambda-runtime-aws-request-id").to_owned();
    assert_eq!(scene.respond(&request_id, "42").await.status, 202);
    let invocation = within(scene.invocation).await.unwrap();
    assert_eq!(invocation.outcome, Outcome::Success("42".into()));
    assert!(!scene.environment.is_alive());
}

#[tokio::test]
async fn late_answer_is_refused() {
    let scene = scene(Duration::from_secs(1)).await;
    let stranger = scene.respond("00000000-0000-4000-8000-000000000000", "1").await;
    assert_eq!(
        (stranger.status, stranger.error_type().as_str()),
        (400, "InvalidRequestID")
    );
    scene.next().await;
    let invocation = within(scene.invocation).await.unwrap();
    assert_eq!(invocation.outcome, Outcome::TimedOut);
    assert!(matches!(scene.environment.phase(), Phase::Ended(_)));
}

#[tokio::test]
async fn init_waits_for_every_extension() {
    let scene = scene(Duration::from_secs(30)).await;
    let name = "Lambda-Extension-Name: goodbye\r\n";
    let nameless = within(scene.ask(REGISTER, "", "{}")).await.unwrap();
    assert_eq!(nameless.status, 400);
    let eager = within(scene.ask(REGISTER, name, r#"{"events":["INVOKE"]}"#))
        .await
        .unwrap();
    assert_eq!(
        (eager.status, eager.error_type().as_str()),
        (403, "Extension.InvalidEventType")
    );

    let accepts = format!("{name}Lambda-Extension-Accept-Feature: accountId\r\n");
    let registered = within(scene.ask(REGISTER, &accepts, r#"{"events":[]}"#)).await.unwrap();
    assert_eq!(registered.status, 200);
    let function = json!({
        "functionName": "silent",
        "functionVersion": "$LATEST",
        "handler": "silent",
        "accountId": "123456789012",
    });
    assert_eq!(serde_json::from_str::<Value>(&registered.body).unwrap(), function);

    let unknown = within(scene.ask(EXTENSION_NEXT, "", "")).await.unwrap();
    assert_eq!(unknown.status, 403);
    let next = scene.ask(NEXT, "", "");
    assert_eq!(
        within(scene.ask("GET /2018-06-01/else", "", "")).await.unwrap().status,
        404
    );
    assert_eq!(scene.environment.phase(), Phase::Initializing);
    let identifier = registered.header("lambda-extension-identifier");
    let identifier = format!("Lambda-Extension-Identifier: {identifier}\r\n");
    let held = scene.ask(EXTENSION_NEXT, &identifier, "");
    assert_eq!(within(next).await.unwrap().status, 200);
    assert_eq!(scene.environment.phase(), Phase::Ready);
    assert!(!held.is_finished());
    scene.invocation.abort();
}
