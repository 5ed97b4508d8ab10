//! The engine used from outside: `tests/adopter`, a package outside the workspace, is built and tested with faults, also by
//! the oracle for any function.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use faults::{AnyFunction, Artifacts, Size, play};
use local::lambda::{Function, Lambda, Options, Outcome};
use local::postgres::{Cluster, Settings};
use local::proxy::{Cut, Effect, Proxy, Statements};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

const CREATE: &str = "notes-create";
const GET: &str = "notes-get";

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/adopter")
}

/// A folder of its own for what is built: the package's dependencies have other features than the workspace's.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopter")
}

/// Cargo in the package. Nobody debugs what it builds.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .current_dir(package());
    cargo
}

fn build() -> PathBuf {
    let built = cargo().args(["build", "--quiet", "--locked"]).status();
    assert!(built.unwrap().success());
    target().join("debug")
}

fn event(name: &str) -> Value {
    let text = std::fs::read_to_string(package().join(format!("events/{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn invoked(lambda: &Lambda, function: &str, event: Value) -> Value {
    let invocation = lambda.invoke(function, event).await.unwrap();
    let Outcome::Success(payload) = &invocation.outcome else {
        panic!("{function}: {:?}", invocation.outcome)
    };
    serde_json::from_slice(payload).unwrap()
}

async fn answered(lambda: &Lambda, function: &str, event: Value) -> (i64, Value) {
    let answer = invoked(lambda, function, event).await;
    let body = answer["body"].as_str().unwrap_or("null");
    (
        answer["statusCode"].as_i64().unwrap(),
        serde_json::from_str(body).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_package_writes_once() {
    let binaries = tokio::task::spawn_blocking(build).await.unwrap();
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let (proxy, url) = behind_proxy(&cluster).await;
    let function = |name: &str| Function {
        env: vec![("DATABASE_URL".to_owned(), url.clone())],
        ..Function::new(name, binaries.join(name))
    };
    let lambda = Lambda::start(["migrate", CREATE, GET, "health"].map(function), Options::default()).unwrap();
    let done = invoked(&lambda, "migrate", json!({})).await;
    assert_eq!(done["applied"], json!(["0000 receipts", "0001 notes", "0040 audit"]));

    let (status, id) = answered(&lambda, CREATE, event(CREATE)).await;
    assert_eq!(status, 201);
    let mut get = event(GET);
    get["pathParameters"]["id"] = id.clone();
    assert_eq!(
        answered(&lambda, GET, get.clone()).await,
        (200, json!("Remember the milk"))
    );

    // A path that acknowledges and delivers nothing; then the end of every session.
    proxy.hang();
    assert_eq!(answered(&lambda, GET, get.clone()).await.0, 200);
    end_sessions(&cluster).await;
    assert_eq!(answered(&lambda, GET, get).await.0, 200);

    // The reply is lost, and the client sends the request again under its key.
    proxy.order(
        Statements::Containing("known AS ("),
        [Effect::Cut(Cut::BeforeAcknowledgement)],
    );
    let mut create = event(CREATE);
    create["headers"]["idempotency-key"] = json!("once");
    let (first, again) = (
        answered(&lambda, CREATE, create.clone()).await,
        answered(&lambda, CREATE, create).await,
    );
    assert_eq!(first.0, 201);
    assert_eq!(first, again);
    let mut direct = connect(&cluster.url()).await;
    let notes: i64 = sqlx::query_scalar("SELECT count(*) FROM notes")
        .fetch_one(&mut direct)
        .await
        .unwrap();
    assert_eq!(notes, 2);

    let mut health = event(GET);
    health["routeKey"] = json!("GET /health");
    assert_eq!(answered(&lambda, "health", health).await.0, 200);
}

/// `cargo lambda watch` in the package; ended with everything that it started.
struct Watch {
    child: Child,
    port: u16,
}

impl Watch {
    fn start(url: &str) -> Self {
        // Below the range for outgoing connections, where a connect to a port without a listener can meet itself.
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let port = (9_100..9_900).find(free).unwrap();
        let child = cargo()
            .args(["lambda", "watch", "--ignore-changes", "--invoke-address", "127.0.0.1"])
            .arg("--invoke-port")
            .arg(port.to_string())
            .env("DATABASE_URL", url)
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }

    fn invoke(&self, function: &str, event: &Value) -> Value {
        let invoked = cargo()
            .args(["lambda", "invoke", function, "--invoke-address", "127.0.0.1"])
            .arg("--invoke-port")
            .arg(self.port.to_string())
            .arg("--data-ascii")
            .arg(event.to_string())
            .output()
            .unwrap();
        assert!(invoked.status.success(), "{invoked:?}");
        serde_json::from_slice(&invoked.stdout).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// Runs the package as a new user does, and injects faults. A function is started by its first invocation, and keeps
/// running.
#[tokio::test(flavor = "multi_thread")]
async fn outside_package_answers_cargo_lambda() {
    let installed = Command::new(env!("CARGO"))
        .args(["lambda", "--version"])
        .output()
        .unwrap();
    if !installed.status.success() {
        println!("skipped: cargo-lambda is not installed");
        return;
    }
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let (proxy, url) = behind_proxy(&cluster).await;
    let watch = tokio::task::block_in_place(|| {
        build();
        Watch::start(&url)
    });
    let invoke = |function, event: &Value| tokio::task::block_in_place(|| watch.invoke(function, event));
    let (create, mut get) = (event(CREATE), event(GET));
    let migrated = invoke("migrate", &create);
    assert_eq!(
        migrated["applied"],
        json!(["0000 receipts", "0001 notes", "0040 audit"])
    );
    let created = invoke(CREATE, &create);
    assert_eq!(created["statusCode"], 201, "{created}");
    get["pathParameters"]["id"] = serde_json::from_str(created["body"].as_str().unwrap()).unwrap();
    let answered = |function, event: &Value| {
        let answer = invoke(function, event);
        assert_eq!(answer["statusCode"], 200, "{answer}");
    };
    answered(GET, &get);
    // The path is silent for good; it acknowledges and delivers nothing; every session ends.
    assert!(proxy.silence() > 0);
    answered(GET, &get);
    assert!(proxy.hang() > 0);
    answered(GET, &get);
    end_sessions(&cluster).await;
    answered(GET, &get);
    let mut health = event(GET);
    health["routeKey"] = json!("GET /health");
    answered("health", &health);
}

/// Starts a proxy in front of the cluster; returns it and the URL through it.
async fn behind_proxy(cluster: &Cluster) -> (Proxy, String) {
    let server = SocketAddr::from(([127, 0, 0, 1], cluster.port()));
    let proxy = Proxy::start(server).await.unwrap();
    let url = format!("{}?sslmode=disable", proxy.url(&cluster.url()));
    (proxy, url)
}

/// Ends the session of every function.
async fn end_sessions(cluster: &Cluster) {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE 'notes-%'";
    let mut direct = connect(&cluster.url()).await;
    sqlx::raw_sql(end).execute(&mut direct).await.unwrap();
}

/// Writes a file for the oracle.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The package's functions under the catalogue's faults, with only their events known.
#[tokio::test(flavor = "multi_thread")]
async fn outside_package_passes_the_oracle() {
    let binaries = tokio::task::spawn_blocking(build).await.unwrap();
    let note = event(GET)["pathParameters"]["id"].as_str().unwrap().to_owned();
    let schema = [
        package().join("../../shared/migrations/0000_receipts.sql"),
        package().join("../../shared/migrations/0040_audit.sql"),
        package().join("migrations/0001_notes.sql"),
        file(
            "note.sql",
            &format!("INSERT INTO notes VALUES ('{note}', 'Remember the milk')"),
        ),
    ];
    let mut create = event(CREATE);
    create["headers"]["idempotency-key"] = json!("{{id}}");
    create["body"] = json!(r#"{"text": "Note {{id}}"}"#);
    let contract = r#"
        [write]
        count = "SELECT count(*) FROM notes WHERE text = 'Note {{id}}'"
        statement = "INSERT INTO notes"
        applied = [201]
        refused = [503]
        unknown = "commit-unknown"
        repeat = true
    "#;
    let get = package().join("events/notes-get.json");
    let create = file("create.json", &create.to_string());
    let contract = file("contract.toml", contract);
    let read = AnyFunction::read(&binaries.join(GET), &[get], &schema, None).unwrap();
    let write = AnyFunction::read(&binaries.join(CREATE), &[create], &schema, Some(&contract)).unwrap();
    for (function, name) in [
        (&read, "blackholed-while-frozen"),
        (&read, "restarted"),
        (&write, "write-cut"),
        (&write, "crashed-at-reply"),
    ] {
        let scenarios = function.scenarios(Size::Small);
        let scenario = scenarios.iter().find(|scenario| scenario.name == name).unwrap();
        let played = play(scenario, &Artifacts::Function(function.clone()), 1, |_| ())
            .await
            .unwrap();
        assert_eq!(played.verdict.wrong, Vec::<String>::new(), "{name}");
        assert!(played.served() > 0, "{name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "past the pool is the point")]
async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}
