//! Health: the truth about the database for everyone, and all of it for the schedule.

use std::collections::BTreeSet;
use std::time::Instant;

use local::lambda::{Lambda, Options, Outcome};
use local::postgres::{Cluster, Settings, Shutdown};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::net::TcpListener;

use super::answer::Answer;
use super::backend::{Backend, connect, functions, invoke, migrated, until};
use super::roles::{prepared, url};

const EXPIRED_RECEIPT: &str = "INSERT INTO receipts (key, request, kind, id, status, expires_at) \
                               SELECT id, id, 'task', id, 201, now() - interval '1 day' FROM gen_random_uuid() id";

/// An EventBridge Scheduler event with the default input.
fn schedule() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2031-03-04T09:30:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/health"],
        "detail": "{}",
    })
}

fn only_health(database_url: &str) -> Lambda {
    let health = functions(database_url)
        .into_iter()
        .filter(|function| function.name == "health");
    Lambda::start(health, Options::default()).unwrap()
}

/// Returns the answer to a schedule, and the metrics at the end of the log.
async fn scheduled(lambda: &Lambda) -> (Value, Value) {
    let invocation = invoke(lambda, "health", schedule()).await;
    let Outcome::Success(report) = &invocation.outcome else {
        panic!("{:?}", invocation.outcome)
    };
    let log = invocation.environment.unwrap().log();
    let metrics = log
        .iter()
        .rfind(|line| line.contains("\"_aws\""))
        .unwrap_or_else(|| panic!("no metrics: {log:#?}"));
    (
        serde_json::from_slice(report).unwrap(),
        serde_json::from_str(metrics).unwrap(),
    )
}

/// Returns the one value of a metric.
fn value(metrics: &Value, name: &str) -> f64 {
    let values = metrics[name].as_array().map(Vec::as_slice);
    let Some([value]) = values else {
        panic!("{name}: {metrics}")
    };
    value.as_f64().unwrap()
}

/// Returns the names that CloudWatch reads as metrics.
fn named(metrics: &Value) -> BTreeSet<&str> {
    let described = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    described
        .iter()
        .map(|metric| metric["Name"].as_str().unwrap())
        .collect()
}

/// Returns the public answer for a database that cannot be reached.
async fn public(lambda: &Lambda, backend: &Backend) -> Answer {
    let (_, event) = backend.get("/api/health").event();
    Answer::of("health", invoke(lambda, "health", event).await)
}

#[tokio::test]
async fn public_health_shows_only_status() {
    let backend = Backend::start().await;
    let answer = backend.get("/api/health").send().await.is(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let health = answer.json();
    let members: BTreeSet<_> = health.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        BTreeSet::from(["status", "database", "timestamp", "latencyMs"])
    );
    assert_eq!(health["status"], "ok");
    assert_eq!(health["database"], "connected");
    assert!(health["latencyMs"].is_u64());
    chrono::DateTime::parse_from_rfc3339(health["timestamp"].as_str().unwrap()).unwrap();
}

/// Anyone may ask, which must not use up log-ins: an environment opens one session in five seconds, and the template
/// lets two environments answer.
#[tokio::test]
async fn flood_opens_few_sessions() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let ask = async || {
        let mut answers = Vec::new();
        for _ in 0..60 {
            answers.push(backend.get("/api/health").send().await.is(200));
        }
        answers
    };
    let since = Instant::now();
    let (one, other) = tokio::join!(ask(), ask());
    let environments = backend.environments("health").len() as u64;
    assert!(environments <= 2, "{environments}");
    let most = environments * (since.elapsed().as_secs() / 5 + 1);
    let sessions = proxy.counts().logins;
    assert!(
        (1..=most).contains(&sessions),
        "{sessions} sessions for 120 requests, {most} at most"
    );
    let kept: Vec<_> = one
        .iter()
        .chain(&other)
        .filter_map(|answer| answer.header("age"))
        .collect();
    assert_eq!(kept.len() as u64, 120 - sessions);
    assert!(kept.iter().all(|age| age.parse::<u64>().unwrap() < 5), "{kept:?}");
}

/// The state of an outage is kept for a second, that of a database that works for five.
#[tokio::test]
async fn public_health_notices_the_return() {
    let backend = Backend::start().await;
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    cluster.stop(Shutdown::Immediate).await.unwrap();
    let lambda = only_health(&format!("{}?pool_timeout=1", cluster.url()));
    public(&lambda, &backend).await.is(503);
    cluster.start().await.unwrap();
    until(async || public(&lambda, &backend).await.status == 200).await;
    assert_eq!(lambda.environments("health").len(), 1, "it was another environment's");
}

#[tokio::test]
async fn public_health_reports_outage() {
    let backend = Backend::start().await;
    let lambda = only_health("postgres://seer:nobody-knows@127.0.0.1:1/seer?pool_timeout=1");
    let answer = public(&lambda, &backend).await.is(503);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let health = answer.json();
    assert_eq!(
        (&health["status"], &health["database"]),
        (&json!("down"), &json!("disconnected"))
    );
    assert!(!answer.body.contains("127.0.0.1"), "{}", answer.body);
}

/// Long before the function's timeout.
#[tokio::test]
async fn silent_database_is_down_early() {
    let backend = Backend::start().await;
    // The kernel accepts connections; no program answers on them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://seer:nobody-knows@127.0.0.1:{port}/seer");
    let lambda = only_health(&url);
    let answer = public(&lambda, &backend).await.is(503);
    // The contract allows 3 s on an idle machine; the function's timeout is 28.
    assert!(answer.json()["latencyMs"].as_u64().unwrap() < 10_000, "{}", answer.body);
    assert_eq!(answer.json()["status"], "down");
}

#[tokio::test]
async fn schedule_gets_report_and_metrics() {
    let backend = Backend::start().await;
    let (report, metrics) = scheduled(backend.lambda()).await;
    assert_eq!(report["status"], "ok");
    assert_eq!(report["state"], "up");
    assert!(
        report["serverVersion"]
            .as_str()
            .unwrap()
            .starts_with(|digit: char| digit.is_ascii_digit())
    );
    assert_eq!(
        report["connectionsMax"],
        backend.number("SELECT current_setting('max_connections')::int8").await
    );
    assert_eq!(report["connectionsReserved"], 3);
    assert!(report["connectionsUsed"].as_i64().unwrap() >= 1);
    assert_eq!(
        (&report["inRecovery"], &report["readOnly"]),
        (&json!(false), &json!(false))
    );
    for figure in ["connectMs", "queryMs", "oldestTransactionSeconds"] {
        assert!(report[figure].is_u64(), "{figure}: {report}");
    }
    assert_eq!(value(&metrics, "DatabaseUp"), 1.0);
    assert_eq!(
        value(&metrics, "ConnectionsMax"),
        report["connectionsMax"].as_f64().unwrap()
    );
    let described = &metrics["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(described["Namespace"], "Seer");
    // The alarms in template.yaml distinguish deployments by it.
    assert_eq!(described["Dimensions"], json!([["FunctionName"]]));
    assert_eq!(metrics["FunctionName"], "health");
    let units: BTreeSet<_> = described["Metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| (metric["Name"].as_str().unwrap(), metric["Unit"].as_str().unwrap()))
        .collect();
    let expected = [
        ("DatabaseUp", "Count"),
        ("ConnectLatency", "Milliseconds"),
        ("QueryLatency", "Milliseconds"),
        ("ConnectionsUsed", "Count"),
        ("ConnectionsMax", "Count"),
        ("ConnectionsUsedPercent", "Percent"),
        ("OldestTransaction", "Seconds"),
        ("OldestWaiting", "Seconds"),
    ];
    assert_eq!(units, BTreeSet::from(expected));
}

/// What an alarm looks at.
#[tokio::test]
async fn schedule_tells_the_oldest_waiting_delivery() {
    let backend = Backend::start().await;
    let oldest = async || {
        let (report, metrics) = scheduled(backend.lambda()).await;
        let seconds = report["oldestWaitingSeconds"].as_i64().unwrap();
        assert_eq!(value(&metrics, "OldestWaiting"), seconds as f64);
        seconds
    };
    assert_eq!(oldest().await, 0);
    let body = json!({"event": "complete", "data": {"bot_id": "bot-1"}});
    let delivery = backend.post("/api/meetings/webhook").json(&body);
    let delivery = delivery.header("x-meeting-baas-api-key", super::backend::API_KEY);
    delivery.send().await.is(200);
    backend
        .execute("UPDATE webhook_inbox SET received_at = received_at - interval '2 hours'")
        .await;
    assert!(oldest().await >= 7_200);
    let team = backend.team("one").await;
    backend.meeting(&team, json!({"meetingBaasId": "bot-1"})).await;
    assert_eq!(oldest().await, 0);
}

/// The role that health has when deployed: it sees no table.
#[tokio::test]
async fn schedule_works_as_monitoring_role() {
    let cluster = prepared(Settings::default()).await;
    migrated(&url(&cluster, "seer_migrator")).await;
    let mut owner = connect(&cluster.url_of("seer")).await;
    sqlx::raw_sql(EXPIRED_RECEIPT).execute(&mut owner).await.unwrap();
    let lambda = only_health(&url(&cluster, "seer_monitor"));
    let (report, metrics) = scheduled(&lambda).await;
    assert_eq!(report["oldestWaitingSeconds"], 0, "{report}");
    assert_eq!(value(&metrics, "OldestWaiting"), 0.0);
    assert_eq!(receipts(&mut owner).await, 0);

    // If the question is refused, as before its migration, what has expired is deleted all the same.
    let before = format!("DROP FUNCTION oldest_waiting_delivery; {EXPIRED_RECEIPT}");
    sqlx::raw_sql(AssertSqlSafe(before)).execute(&mut owner).await.unwrap();
    let (report, _) = scheduled(&lambda).await;
    assert_eq!(report["oldestWaitingSeconds"], Value::Null, "{report}");
    assert_eq!(receipts(&mut owner).await, 0);
}

async fn receipts(session: &mut PgConnection) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM receipts");
    count.fetch_one(session).await.unwrap()
}

/// Behind a pooler the check itself is rolled back, the sweep is not.
#[tokio::test]
async fn schedule_deletes_expired_receipts() {
    for parameters in ["", "?pgbouncer=true"] {
        let backend = Backend::with(|function| {
            let url = function.env.iter_mut().find(|(name, _)| name == "DATABASE_URL");
            url.unwrap().1.push_str(parameters);
        })
        .await;
        backend.execute(EXPIRED_RECEIPT).await;
        scheduled(backend.lambda()).await;
        assert_eq!(backend.number("SELECT count(*) FROM receipts").await, 0, "{parameters}");
    }
}

/// Otherwise an alarm would react to an outdated state.
#[tokio::test]
async fn down_report_repeats_no_old_values() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let lambda = only_health(&format!("{}?pool_timeout=1", cluster.url()));
    let (_, up) = scheduled(&lambda).await;
    assert_eq!(value(&up, "DatabaseUp"), 1.0);
    cluster.stop(Shutdown::Immediate).await.unwrap();
    let (report, down) = scheduled(&lambda).await;
    assert_eq!(report["status"], "down");
    assert_eq!(value(&down, "DatabaseUp"), 0.0);
    assert_eq!(named(&down), BTreeSet::from(["DatabaseUp", "ConnectLatency"]), "{down}");
    assert!(down.get("ConnectionsUsedPercent").is_none(), "{down}");
    cluster.start().await.unwrap();
    let (_, up_again) = scheduled(&lambda).await;
    assert_eq!(named(&up_again), named(&up));
    assert_eq!(value(&up_again, "DatabaseUp"), 1.0);
    assert_eq!(lambda.environments("health").len(), 1, "it was another environment's");
}

#[tokio::test]
async fn schedule_gets_the_outage_cause() {
    let backend = Backend::start().await;
    let wrong = backend.url().replacen("seer:", "seer:not-", 1);
    let refused = only_health("postgres://seer:nobody-knows@127.0.0.1:1/seer?pool_timeout=1");
    let unresolvable = only_health("postgres://seer:nobody-knows@no-such-host.invalid/seer?pool_timeout=1");
    let auth = only_health(&wrong);
    let told = tokio::join!(scheduled(&refused), scheduled(&unresolvable), scheduled(&auth));
    for ((report, metrics), state, advice) in [
        (told.0, "refused", "check that PostgreSQL runs"),
        (told.1, "unresolvable", "check the host in DATABASE_URL"),
        (told.2, "auth", "check user and password"),
    ] {
        assert_eq!((&report["status"], &report["state"]), (&json!("down"), &json!(state)));
        assert!(report["cause"].as_str().unwrap().contains(advice), "{report}");
        assert!(!report.to_string().contains("nobody-knows"), "{report}");
        assert_eq!(value(&metrics, "DatabaseUp"), 0.0);
    }
}

#[tokio::test]
async fn read_only_or_near_full_is_degraded() {
    let parameters = vec![("default_transaction_read_only".to_owned(), "on".to_owned())];
    let cluster = Cluster::throwaway(Settings {
        max_connections: 13,
        parameters,
        ..Settings::default()
    })
    .await
    .unwrap();
    let lambda = only_health(&cluster.url());
    let (report, metrics) = scheduled(&lambda).await;
    assert_eq!(
        (&report["status"], &report["state"]),
        (&json!("degraded"), &json!("read-only"))
    );
    assert_eq!(value(&metrics, "DatabaseUp"), 1.0);

    cluster.set("default_transaction_read_only", "off").await.unwrap();
    cluster.reload().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(connect(&cluster.url()).await);
    }
    let (report, _) = scheduled(&lambda).await;
    assert_eq!(
        (&report["status"], &report["state"]),
        (&json!("degraded"), &json!("saturated"))
    );

    // The public answer is 200: it works, and a load balancer has no reason to remove it.
    let backend = Backend::start().await;
    let health = public(&lambda, &backend).await.is(200).json();
    assert_eq!(
        (&health["status"], &health["database"]),
        (&json!("degraded"), &json!("connected"))
    );
}

/// Its query runs in a transaction there, which must not look like a server that rejects writes.
#[tokio::test]
async fn pooler_does_not_degrade_health() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let lambda = only_health(&format!("{}?pgbouncer=true", cluster.url()));
    let (report, _) = scheduled(&lambda).await;
    assert_eq!((&report["status"], &report["state"]), (&json!("ok"), &json!("up")));
}

#[tokio::test]
async fn health_leaves_no_session() {
    let backend = Backend::start().await;
    for _ in 0..5 {
        backend.get("/api/health").send().await.is(200);
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name LIKE 'health:%'";
    // The pool's own connection, from INIT, stays; the server may notice the others' end a moment later.
    until(async || backend.number(sessions).await <= 1).await;
}
