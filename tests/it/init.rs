//! INIT with a faulty database: every function starts, reports the problem once, answers with a problem document, and
//! works as soon as the database does.

use std::path::Path;

use futures_util::future::join_all;
use local::lambda::{Lambda, Options};
use local::postgres::{Cluster, Settings, Shutdown};

use super::answer::Answer;
use super::backend::{Backend, ROUTES, UNKNOWN_PASSWORD, connect, functions, invoke, migrated, until};
use super::people::Person;

fn lambda(database_url: &str) -> Lambda {
    Lambda::start(functions(database_url), Options::default()).unwrap()
}

/// Reads the caller's own user: a route that needs the database.
async fn me(lambda: &Lambda, backend: &Backend) -> Answer {
    let (_, event) = backend.get("/api/users/me").by(&Person::stranger("ada")).event();
    Answer::of("users-me", invoke(lambda, "users-me", event).await)
}

/// Returns the lines of INIT and of the answer that report a problem to an operator.
fn complaints(answer: &Answer) -> Vec<String> {
    let log = answer.environment().log();
    log.into_iter()
        .filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
        .collect()
}

/// Only the first start is looked at: no server answers.
#[tokio::test]
async fn unverified_server_is_reported() {
    let backend = Backend::start().await;
    for (address, reported) in [
        ("127.0.0.1:1/seer?sslmode=prefer", false),
        ("0.0.0.0:1/seer?sslmode=verify-full", false),
        ("0.0.0.0:1/seer?sslmode=verify-ca", true),
        ("0.0.0.0:1/seer?sslmode=prefer", true),
    ] {
        let lambda = lambda(&format!("postgres://seer:{UNKNOWN_PASSWORD}@{address}&pool_timeout=1"));
        let answer = me(&lambda, &backend).await.problem(503, "database-unavailable");
        let complaints = complaints(&answer);
        let unverified = complaints
            .iter()
            .filter(|line| line.contains("does not have to prove its identity"));
        assert_eq!(unverified.count(), usize::from(reported), "{address}: {complaints:#?}");
    }
}

fn nowhere() -> String {
    format!("postgres://seer:{UNKNOWN_PASSWORD}@127.0.0.1:1/seer?pool_timeout=1")
}

#[tokio::test]
async fn environment_recovers_with_database() {
    let backend = Backend::start().await;
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    migrated(&cluster.url()).await;
    let mut session = connect(&cluster.url()).await;
    let ada = "INSERT INTO users (id, clerk_id, email, name, role) \
               VALUES (gen_random_uuid(), 'user_ada', 'ada@example.com', 'Ada', 'admin')";
    sqlx::raw_sql(ada).execute(&mut session).await.unwrap();
    drop(session);
    cluster.stop(Shutdown::Fast).await.unwrap();

    let lambda = lambda(&format!("{}?pool_timeout=1", cluster.url()));
    let down = me(&lambda, &backend).await.problem(503, "database-unavailable");
    assert!(
        down.invocation.cold_start && down.invocation.init_duration.is_some(),
        "INIT did not end well"
    );
    let complaints = complaints(&down);
    assert!(complaints[0].contains("starting without a database"), "{complaints:#?}");
    for part in [
        "refused",
        &format!("127.0.0.1:{}/seer", cluster.port()),
        "check that PostgreSQL runs",
    ] {
        assert!(
            complaints[0].contains(part),
            "INIT does not tell of {part}: {complaints:#?}"
        );
    }
    assert!(
        complaints.len() <= 2,
        "one line of INIT and one of the answer is enough: {complaints:#?}"
    );

    cluster.start().await.unwrap();
    let pid = down.environment().pid();
    until(async || {
        let answer = me(&lambda, &backend).await;
        assert_eq!(answer.environment().pid(), pid, "it took a restart");
        assert!(matches!(answer.status, 200 | 503), "{} {}", answer.status, answer.body);
        answer.status == 200
    })
    .await;

    // And from a warm environment, with a restart in between.
    cluster.restart(Shutdown::Immediate).await.unwrap();
    let warm = me(&lambda, &backend).await.is(200);
    assert_eq!(warm.environment().pid(), pid);
}

#[tokio::test]
async fn init_succeeds_without_database() {
    let lambda = lambda(&nowhere());
    // Health opens its own connection, on request.
    let connecting = ROUTES.functions().into_iter().filter(|name| *name != "health");
    let started = join_all(connecting.map(|name| lambda.prepare(name))).await;
    for environment in started {
        let environment = environment.unwrap();
        let log = environment.log();
        let said: Vec<_> = log
            .iter()
            .filter(|line| line.contains("starting without a database"))
            .collect();
        assert_eq!(said.len(), 1, "{}: {log:#?}", environment.function().name);
        super::backend::tells_no_secret(&log);
    }
}

#[tokio::test]
async fn unusable_url_is_named_but_not_shown() {
    let backend = Backend::start().await;
    let secret = UNKNOWN_PASSWORD;
    for (url, named) in [
        (
            format!("postgres://seer:{secret}@127.0.0.1:1/seer?conection_limit=5{secret}"),
            "conection_limit",
        ),
        (
            format!("postgres://seer:{secret}@127.0.0.1:1/seer?connection_limit={secret}"),
            "connection_limit",
        ),
        (
            format!("postgres://seer:{secret}@127.0.0.1:1/seer?sslmode={secret}"),
            "sslmode",
        ),
        (format!("mysql://seer:{secret}@127.0.0.1/seer"), "DATABASE_URL"),
        (secret.to_owned(), "DATABASE_URL"),
        (String::new(), "DATABASE_URL"),
    ] {
        let lambda = lambda(&url);
        let answer = me(&lambda, &backend).await.problem(500, "misconfigured");
        assert!(
            !answer.body.contains(named) && answer.header("retry-after").is_none(),
            "{}",
            answer.body
        );
        let complaints = complaints(&answer);
        assert!(
            !complaints.is_empty() && complaints.iter().all(|line| line.contains(named)),
            "{complaints:#?}"
        );
        let (_, event) = backend.get("/api/health").event();
        let health = Answer::of("health", invoke(&lambda, "health", event).await);
        assert_eq!(health.is(503).json()["status"], "down");
    }
}

#[tokio::test]
async fn bad_password_or_database_is_logged() {
    let backend = Backend::start().await;
    let wrong = backend.url().replacen("seer:", &format!("seer:{UNKNOWN_PASSWORD}"), 1);
    let absent = format!("{}_absent", backend.url());
    for (url, kind, advice) in [
        (wrong, "auth", "check user and password"),
        (absent, "no-database", "create the database"),
    ] {
        let lambda = lambda(&url);
        let answer = me(&lambda, &backend).await.problem(503, "database-unavailable");
        let complaints = complaints(&answer);
        assert!(
            complaints
                .iter()
                .all(|line| line.contains(kind) && line.contains(advice)),
            "{complaints:#?}"
        );
    }
}

#[tokio::test]
async fn unmigrated_schema_is_logged() {
    let backend = Backend::start().await;
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let lambda = lambda(&cluster.url());
    let answer = me(&lambda, &backend).await.problem(500, "internal");
    let complaints = complaints(&answer);
    assert!(
        complaints
            .iter()
            .any(|line| line.contains("42P01") && line.contains("migrations of this build")),
        "{complaints:#?}"
    );
    // The server answered, so the connection is kept, and after one migration everything works.
    migrated(&cluster.url()).await;
    me(&lambda, &backend).await.problem(401, "not-registered");
}

#[tokio::test]
async fn certificate_is_verified_on_request() {
    let backend = Backend::start().await;
    let cluster = Cluster::throwaway(Settings {
        tls: true,
        ..Settings::default()
    })
    .await
    .unwrap();
    migrated(&cluster.url()).await;
    let authority = cluster.authority().unwrap().display().to_string();
    let url = |parameters: &str| format!("{}?{parameters}", cluster.url());

    let trusted = lambda(&url(&format!("sslmode=verify-full&sslrootcert={authority}")));
    me(&trusted, &backend).await.problem(401, "not-registered");

    let answer = me(&lambda(&url("sslmode=verify-full")), &backend)
        .await
        .problem(503, "database-unavailable");
    let complaints = complaints(&answer);
    assert!(
        complaints
            .iter()
            .all(|line| line.contains("check sslmode and sslrootcert")),
        "{complaints:#?}"
    );

    let missing = Path::new(&authority).with_file_name("absent.pem");
    let url = url(&format!("sslmode=verify-full&sslrootcert={}", missing.display()));
    let answer = me(&lambda(&url), &backend).await;
    assert!(answer.status >= 500, "{} {}", answer.status, answer.body);
}
