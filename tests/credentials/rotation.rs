//! The rotation, and the load during it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::backend::{Backend, until};
use super::people::{Team, meeting};

const ROLE: &str = "rotated";
const CLIENTS: usize = 6;
/// How often every session is terminated at each step of a rotation.
const TIMES: u64 = 3;
/// Requests that must be answered after each time: more than are in flight at once.
const REQUESTS: u64 = 4 * CLIENTS as u64;
/// A rotation's steps, from the view of connections: pending; accepted by the database; current.
const STEPS: u64 = 3;
const ROTATIONS: u64 = 3;

/// Secrets Manager, from the view of a rotation function.
struct Rotation {
    /// Host and port.
    server: String,
    arn: String,
    current: String,
}

fn secret(password: &str) -> String {
    json!({"username": ROLE, "password": password}).to_string()
}

impl Rotation {
    async fn of(endpoint: &str, password: &str) -> Self {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let current = Uuid::now_v7().to_string();
        let body = json!({
            "Name": format!("seer-{current}"), "SecretString": secret(password), "ClientRequestToken": current,
        });
        let made = ask_for(&server, "CreateSecret", body).await;
        let arn = made["ARN"].as_str().unwrap().to_owned();
        Self { server, arn, current }
    }

    /// createSecret: creates the next password, which only this secret contains. Returns its version.
    async fn create(&self, password: &str) -> String {
        let version = Uuid::now_v7().to_string();
        let body = json!({
            "SecretId": self.arn, "SecretString": secret(password), "ClientRequestToken": version,
            "VersionStages": ["AWSPENDING"],
        });
        ask_for(&self.server, "PutSecretValue", body).await;
        version
    }

    /// finishSecret: makes the next password the current one.
    async fn finish(&mut self, version: String) {
        let body = json!({
            "SecretId": self.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": version,
            "RemoveFromVersionId": self.current,
        });
        ask_for(&self.server, "UpdateSecretVersionStage", body).await;
        self.current = version;
    }
}

/// Sends one request in the protocol's simplest form; the signature is not verified.
async fn ask_for(server: &str, operation: &str, body: Value) -> Value {
    let (mut stream, body) = (TcpStream::connect(server).await.unwrap(), body.to_string());
    let scope = "AKIDEXAMPLE/20310304/us-east-1/secretsmanager/aws4_request";
    let request = format!(
        "POST / HTTP/1.0\r\nHost: {server}\r\nContent-Length: {}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: secretsmanager.{operation}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.split(' ').nth(1) == Some("200"), "{operation}: {answer}");
    serde_json::from_str(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn loaded_rotation_fails_no_request() {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").expect("this is run by tests/credentials.py");
    let mut rotation = Rotation::of(&endpoint, "password 0").await;
    let backend = Backend::with(|function| {
        let given = function
            .env
            .iter()
            .position(|(name, _)| name == "DATABASE_URL")
            .unwrap();
        let (_, url) = function.env.remove(given);
        let url = format!("postgres://{}", url.split_once('@').unwrap().1);
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("DATABASE_SECRET_ARN", &rotation.arn),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        function.env.extend(variables);
    })
    .await;
    let create = format!("CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD 'password 0'");
    backend.execute(&create).await;
    let team = backend.team("rotation").await;

    let (answered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let clients = join_all((0..CLIENTS).map(|_| ask(&backend, &team, &answered, &over)));
    let rotations = async {
        for round in 1..=ROTATIONS {
            let password = format!("password {round}");
            let version = rotation.create(&password).await;
            served(&backend, &answered).await;
            backend
                .execute(&format!("ALTER ROLE {ROLE} PASSWORD '{password}'"))
                .await;
            served(&backend, &answered).await;
            rotation.finish(version).await;
            served(&backend, &answered).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(clients, rotations);
    assert!(answered.load(Ordering::SeqCst) >= ROTATIONS * STEPS * TIMES * REQUESTS);
}

/// Writes and reads until it is over; each answer must be successful.
async fn ask(backend: &Backend, team: &Team, answered: &AtomicU64, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        let body = meeting(team.member.id, json!({}));
        let made = backend
            .post("/api/meetings")
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .is(201)
            .json();
        let id = made["id"].as_str().unwrap();
        let found = backend
            .get(&format!("/api/meetings/{id}"))
            .by(&team.member)
            .send()
            .await;
        assert_eq!(found.is(200).json()["id"], id);
        answered.fetch_add(2, Ordering::SeqCst);
    }
}

/// Terminates every session of the functions a few times, and waits after each until enough requests were answered over
/// new ones.
async fn served(backend: &Backend, answered: &AtomicU64) {
    let end = format!("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    for _ in 0..TIMES {
        assert!(backend.number(&end).await > 0, "nothing was connected");
        let before = answered.load(Ordering::SeqCst);
        until(async || answered.load(Ordering::SeqCst) >= before + REQUESTS).await;
    }
}
