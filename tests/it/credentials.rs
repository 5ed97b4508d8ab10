//! Logging in with the content of a Secrets Manager secret, or with a token, when something is wrong.
//! `tests/credentials` tests a whole rotation under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use local::lambda::Function;
use local::postgres::{Cluster, Settings};
use local::proxy::{Admission, Proxy, Refusal};
use local::secrets::{ARN, Manner, Secrets};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::answer::Answer;
use super::backend::{Backend, connect, migrated, until};
use super::people::Person;

/// Must never be in a log.
const PASSWORDS: [&str; 3] = ["first-password", "second-password", "third-password"];

/// A backend whose functions log in as a separate role, with the content of a secret.
struct Bench {
    backend: Backend,
    secrets: Secrets,
    role: String,
}

/// Replaces a variable of a function.
fn set(function: &mut Function, name: &str, value: &str) {
    function.env.retain(|(known, _)| known != name);
    function.env.push((name.to_owned(), value.to_owned()));
}

/// Adds a role's credentials, which are not verified here.
fn with_role(function: &mut Function) {
    set(function, "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    set(function, "AWS_SECRET_ACCESS_KEY", "secret");
    set(function, "AWS_SESSION_TOKEN", "session");
}

/// Removes user and password from `DATABASE_URL`, and adds a parameter.
fn without_credentials(function: &mut Function, parameter: &str) {
    let given = function.env.iter().find(|(name, _)| name == "DATABASE_URL");
    let (_, location) = given.unwrap().1.split_once('@').unwrap();
    let url = format!("postgres://{location}?{parameter}");
    set(function, "DATABASE_URL", &url);
}

impl Bench {
    async fn start() -> Self {
        Self::with("pool_timeout=8", |_| {}).await
    }

    async fn with(parameter: &str, change: impl Fn(&mut Function)) -> Self {
        let role = format!("r{}", Uuid::now_v7().simple());
        let secrets = Secrets::start(&secret(&role, PASSWORDS[0])).await.unwrap();
        let backend = Backend::with(|function| {
            without_credentials(function, parameter);
            set(function, "DATABASE_SECRET_ARN", ARN);
            set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets.url());
            with_role(function);
            change(function);
        })
        .await;
        let create = format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{}'", PASSWORDS[0]);
        backend.execute(&create).await;
        Self { backend, secrets, role }
    }

    /// Returns a secret of the bench's role.
    fn secret(&self, password: &str) -> String {
        secret(&self.role, password)
    }

    /// Changes the password, like setSecret.
    async fn alter(&self, password: &str) {
        let alter = format!("ALTER ROLE {} PASSWORD '{password}'", self.role);
        self.backend.execute(&alter).await;
    }

    async fn terminate(&self) {
        let role = &self.role;
        let end = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{role}'");
        self.backend.execute(&end).await;
    }

    /// Reads the caller's own user: a read by a caller without a row.
    async fn read(&self) -> Answer {
        let answer = self
            .backend
            .get("/api/users/me")
            .by(&Person::stranger("ada"))
            .send()
            .await;
        let log = answer.environment().log();
        let told = log
            .iter()
            .any(|line| PASSWORDS.iter().any(|password| line.contains(password)));
        assert!(!told, "a password was logged: {log:#?}");
        answer
    }

    async fn reads(&self) {
        self.read().await.problem(401, "not-registered");
    }

    /// Returns everything that INIT and the answers report to operators; the last part is that the database is
    /// unavailable.
    async fn refused(&self) -> String {
        let answer = self.read().await.problem(503, "database-unavailable");
        let log = answer.environment().log();
        let complaints: Vec<_> = log
            .iter()
            .filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
            .collect();
        format!("{complaints:#?}")
    }
}

/// Returns a secret as RDS writes it for a secret that it manages.
fn secret(role: &str, password: &str) -> String {
    json!({"username": role, "password": password}).to_string()
}

#[tokio::test]
async fn environment_fetches_secret_once() {
    // At this level a library would log everything, if allowed; read() checks for the password.
    let bench = Bench::with("pool_timeout=8", |function| set(function, "LOG_LEVEL", "trace")).await;
    for _ in 0..3 {
        bench.reads().await;
        bench.terminate().await;
    }
    assert_eq!(bench.secrets.asked(), ["AWSCURRENT"]);
}

#[tokio::test]
async fn rotation_fails_no_request() {
    let bench = Bench::start().await;
    bench.reads().await;
    bench.secrets.set("AWSPENDING", &bench.secret(PASSWORDS[1]));
    bench.alter(PASSWORDS[1]).await;
    // A warm connection survives it.
    bench.reads().await;
    assert_eq!(bench.secrets.asked(), ["AWSCURRENT"]);
    bench.terminate().await;
    bench.reads().await;
    assert_eq!(bench.secrets.asked(), ["AWSCURRENT", "AWSCURRENT", "AWSPENDING"]);

    // The next one, which is outdated before any connect.
    bench.secrets.set("AWSCURRENT", &bench.secret(PASSWORDS[2]));
    bench.alter(PASSWORDS[2]).await;
    bench.terminate().await;
    bench.reads().await;
    assert_eq!(bench.secrets.asked().len(), 4);
}

#[tokio::test]
async fn secret_with_other_user_is_followed() {
    let bench = Bench::start().await;
    bench.reads().await;
    let other = format!("{}_clone", bench.role);
    let create = format!("CREATE ROLE {other} SUPERUSER LOGIN PASSWORD '{}'", PASSWORDS[1]);
    bench.backend.execute(&create).await;
    bench.secrets.set("AWSCURRENT", &secret(&other, PASSWORDS[1]));
    bench
        .backend
        .execute(&format!("ALTER ROLE {} NOLOGIN", bench.role))
        .await;
    bench.terminate().await;
    bench.reads().await;
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{other}'");
    assert_eq!(bench.backend.number(&sessions).await, 1);
}

#[tokio::test]
async fn wrong_password_is_retried_sparingly() {
    let bench = Bench::start().await;
    bench.alter(PASSWORDS[1]).await;
    let since = std::time::Instant::now();
    for _ in 0..20 {
        let line = bench.refused().await;
        assert!(
            line.contains("auth during connect") && line.contains("the secret"),
            "{line}"
        );
    }
    // AWSCURRENT, AWSPENDING and AWSCURRENT again, after at most one AWSCURRENT that found it; once in five seconds.
    let rounds = usize::try_from(since.elapsed().as_secs() / 5).unwrap() + 2;
    let asked = bench.secrets.asked();
    assert!(asked.len() <= rounds * 4, "{asked:?}");

    bench.secrets.set("AWSCURRENT", &bench.secret(PASSWORDS[1]));
    until(async || bench.read().await.status == 401).await;
}

#[tokio::test]
async fn unreadable_secret_is_logged() {
    let bench = Bench::start().await;
    bench.secrets.answer(Manner::Denied);
    let line = bench.refused().await;
    for part in [
        "no-credential",
        "AccessDeniedException",
        "is not authorized to perform",
        "secretsmanager:GetSecretValue",
        ARN,
    ] {
        assert!(line.contains(part), "{part} is not told: {line}");
    }
    let asked = bench.secrets.asked().len();
    bench.refused().await;
    assert!(
        bench.secrets.asked().len() <= asked + 1,
        "it is asked for at each request"
    );

    bench.secrets.answer(Manner::Well);
    let malformed = r#"{"username": "somebody", "pasword": "first-password"}"#;
    bench.secrets.set("AWSCURRENT", malformed);
    until(async || bench.refused().await.contains("the secret has no field password")).await;

    bench.secrets.set("AWSCURRENT", &bench.secret(PASSWORDS[0]));
    until(async || bench.read().await.status == 401).await;
}

#[tokio::test]
async fn unreachable_secrets_manager_is_named() {
    for manner in [Manner::Silent, Manner::Broken, Manner::Throttled] {
        let bench = Bench::with("pool_timeout=2", |_| {}).await;
        bench.secrets.answer(manner);
        let line = bench.refused().await;
        for part in ["secret-unreachable", ARN, "interface endpoint"] {
            assert!(line.contains(part), "{manner:?}: {part} is not told: {line}");
        }
        bench.secrets.answer(Manner::Well);
        until(async || bench.read().await.status == 401).await;
    }
}

#[tokio::test]
async fn brief_secrets_failure_is_survived() {
    let bench = Bench::with("pool_timeout=20", |_| {}).await;
    bench.secrets.answer(Manner::Broken);
    let (answer, ()) = tokio::join!(bench.read(), async {
        until(async || bench.secrets.asked().len() > 3).await;
        bench.secrets.answer(Manner::Well);
    });
    answer.problem(401, "not-registered");
}

#[tokio::test]
async fn missing_role_is_logged() {
    let bench = Bench::with("pool_timeout=8", |function| {
        function.env.retain(|(name, _)| name != "AWS_ACCESS_KEY_ID")
    })
    .await;
    let line = bench.refused().await;
    assert!(line.contains("the function has no role's credentials"), "{line}");
    assert_eq!(bench.secrets.asked(), [""; 0]);
}

/// The address at which an environment restored from a snapshot finds its role's credentials, and how often they were
/// requested.
struct RoleServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl RoleServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            let role = json!({
                "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret", "Token": "session",
                "Expiration": "2051-03-04T12:00:00Z",
            })
            .to_string();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(client.read_u8().await.unwrap());
                }
                let asked = String::from_utf8(asked).unwrap().to_lowercase();
                let known = asked.starts_with("get /role ") && asked.contains("authorization: a-token");
                let status = if known { "200 OK" } else { "403 Forbidden" };
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close");
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{role}", role.len());
                client.write_all(answer.as_bytes()).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, asked, server }
    }

    /// Removes the role's credentials from the variables, and sets the address instead.
    fn tell(&self, function: &mut Function) {
        function
            .env
            .retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SE"));
        let address = format!("http://{}/role", self.address);
        set(function, "AWS_CONTAINER_CREDENTIALS_FULL_URI", &address);
        set(function, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "a-token");
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for RoleServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// With SnapStart the role's credentials are in no variable: an environment restored later would have the old ones.
#[tokio::test]
async fn snapstart_fetches_role_credentials() {
    let role = RoleServer::start().await;
    let bench = Bench::with("pool_timeout=8", |function| role.tell(function)).await;
    bench.reads().await;
    assert_eq!(bench.secrets.asked(), ["AWSCURRENT"]);
}

/// Starts a cluster with TLS that accepts every password for `seer`, as RDS accepts a valid token.
async fn cluster_without_passwords() -> Cluster {
    let settings = Settings {
        tls: true,
        ..Settings::default()
    };
    let cluster = Cluster::throwaway(settings).await.unwrap();
    migrated(&cluster.url()).await;
    let mut session = connect(&cluster.url()).await;
    sqlx::raw_sql(
        "DO $$ BEGIN
             EXECUTE format('COPY (SELECT %L) TO %L', 'host all seer 127.0.0.1/32 trust', current_setting('hba_file'));
         END $$;
         SELECT pg_reload_conf()",
    )
    .execute(&mut session)
    .await
    .unwrap();
    cluster
}

/// RDS checks 200 tokens a second. Here a function that the first statement calls refuses, in RDS's words.
#[tokio::test]
async fn token_is_reused_until_refused() {
    let role = RoleServer::start().await;
    let cluster = cluster_without_passwords().await;
    let url = format!("postgres://seer@127.0.0.1:{}/seer?sslmode=require", cluster.port());
    let backend = Backend::with(|function| {
        set(function, "DATABASE_URL", &url);
        set(function, "DATABASE_IAM_AUTH", "true");
        set(function, "AWS_REGION", "us-east-1");
        role.tell(function);
    })
    .await;
    let mut session = connect(&cluster.url()).await;
    let terminate = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name ~ ':'";
    let ada = Person::stranger("ada");
    let read = async || backend.get("/api/users/me").by(&ada).send().await;
    for _ in 0..3 {
        read().await.problem(401, "not-registered");
        sqlx::raw_sql(terminate).execute(&mut session).await.unwrap();
    }
    assert_eq!(role.asked(), 1, "a token was signed for each connect");

    let refuse = "CREATE SCHEMA rds;
        CREATE FUNCTION rds.pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'PAM authentication failed for user \"seer\"' USING ERRCODE = '28000';
        END $$;
        ALTER ROLE seer SET search_path = rds, pg_catalog, public";
    sqlx::raw_sql(refuse).execute(&mut session).await.unwrap();
    let (answer, ()) = tokio::join!(read(), async {
        until(async || role.asked() >= 3).await;
        // The function stays: a connect that is looking it up would fail if it were dropped.
        sqlx::raw_sql("ALTER ROLE seer RESET search_path")
            .execute(&mut session)
            .await
            .unwrap();
    });
    answer.problem(401, "not-registered");
}

/// The requests of an environment to Secrets Manager during an outage, after which it finds the database at its new
/// address.
#[tokio::test]
async fn long_outage_rereads_the_secret() {
    let bench = Bench::with("", |function| {
        set(function, "DATABASE_URL", "postgres:///?pool_timeout=2&sslmode=disable");
    })
    .await;
    let (_, place) = bench.backend.url().split_once('@').unwrap();
    let (address, database) = place.split_once('/').unwrap();
    let server: SocketAddr = address.parse().unwrap();
    let at = |port: u16| {
        json!({
            "username": bench.role, "password": PASSWORDS[0], "host": "127.0.0.1", "port": port, "dbname": database,
        })
        .to_string()
    };
    let proxy = Proxy::start(server).await.unwrap();
    bench.secrets.set("AWSCURRENT", &at(proxy.address().port()));
    bench.reads().await;
    let since = Instant::now();
    proxy.set_admission(Admission::Refused).await;
    proxy.reset();
    for _ in 0..20 {
        bench.refused().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = bench.secrets.asked().len();
    let rounds = usize::try_from(since.elapsed().as_secs() / 10).unwrap() + 1;
    assert!(asked <= 1 + rounds, "{asked} questions");

    bench.secrets.set("AWSCURRENT", &at(server.port()));
    until(async || bench.read().await.status == 401).await;
}

#[tokio::test]
async fn pooler_refusal_rereads_the_secret() {
    let bench = Bench::with("", |function| {
        set(function, "DATABASE_URL", "postgres:///?pgbouncer=true&sslmode=disable");
    })
    .await;
    let (_, place) = bench.backend.url().split_once('@').unwrap();
    let (address, database) = place.split_once('/').unwrap();
    let proxy = Proxy::start(address.parse().unwrap()).await.unwrap();
    let secret = json!({
        "username": bench.role, "password": PASSWORDS[0], "host": "127.0.0.1", "port": proxy.address().port(),
        "dbname": database,
    });
    bench.secrets.set("AWSCURRENT", &secret.to_string());
    bench.reads().await;
    let refused = Admission::Refusing(Refusal {
        sqlstate: "08P01",
        message: "SASL authentication failed",
    });
    proxy.set_admission(refused).await;
    proxy.reset();
    let line = bench.refused().await;
    assert!(line.contains("auth during connect"), "{line}");
    let asked = bench.secrets.asked();
    assert_eq!(asked[..3], ["AWSCURRENT", "AWSCURRENT", "AWSPENDING"], "{asked:?}");
    proxy.set_admission(Admission::Open).await;
    until(async || bench.read().await.status == 401).await;
}

#[tokio::test]
async fn aws_is_not_asked_by_default() {
    let secrets = Secrets::start("{}").await.unwrap();
    let backend = Backend::with(|function| {
        set(function, "AWS_ENDPOINT_URL", &secrets.url());
        set(function, "DATABASE_IAM_AUTH", "false");
        with_role(function);
    })
    .await;
    let ada = Person::stranger("ada");
    backend
        .get("/api/users/me")
        .by(&ada)
        .send()
        .await
        .problem(401, "not-registered");
    assert_eq!(secrets.asked(), [""; 0]);
}

/// The token itself is in no log line.
#[tokio::test]
async fn refused_token_is_logged_with_advice() {
    let cluster = Cluster::throwaway(Settings {
        tls: true,
        ..Settings::default()
    })
    .await
    .unwrap();
    let authority = cluster.authority().unwrap().display().to_string();
    // At the most verbose level, including the libraries' lines.
    let url = format!(
        "postgres://seer@127.0.0.1:{}/seer?sslmode=verify-full&sslrootcert={authority}",
        cluster.port()
    );
    let backend = Backend::with(|function| {
        set(function, "DATABASE_URL", &url);
        set(function, "LOG_LEVEL", "trace");
        set(function, "DATABASE_IAM_AUTH", "true");
        with_role(function);
    })
    .await;
    let ada = Person::stranger("ada");
    let answer = backend.get("/api/users/me").by(&ada).send().await;
    let answer = answer.problem(503, "database-unavailable");
    let log = answer.environment().log().join("\n");
    assert!(log.contains("28P01") && log.contains("rds-db:connect"), "{log}");
    assert!(!log.contains("X-Amz-"), "the token was logged: {log}");
}
