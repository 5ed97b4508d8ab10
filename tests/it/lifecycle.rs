//! An environment's life cycle: shut down, restored from a snapshot, serving concurrent requests, and blocked by a
//! database that does not answer in time.

use std::time::Duration;

use futures_util::future::join_all;
use local::lambda::{Environment, Phase};
use serde_json::json;

use super::backend::{Backend, connect, until};
use super::people::{Person, id};

/// Sessions of a function's own pool.
fn sessions(function: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = '{function}:$LATEST'"
    )
}

#[tokio::test]
async fn shutdown_sends_terminate() {
    let (backend, proxy) = Backend::behind_proxy().await;
    backend.admin("ada").await;
    backend
        .get("/api/users/me")
        .by(&Person::stranger("ada"))
        .send()
        .await
        .is(200);
    let open = proxy.counts().open;
    let environment = backend.environments("users-me").remove(0);
    let status = Environment::shutdown(&environment).await.unwrap();
    assert_eq!(status.code(), Some(0), "it did not end by itself: {status}");
    until(async || proxy.counts().open == open - 1).await;
    until(async || backend.number(&sessions("users-me")).await == 0).await;
}

/// Lambda's own signal arrives when no request is in flight; on other hosts, and in environments that serve several
/// requests, it can arrive at any time.
#[tokio::test]
async fn sigterm_lets_requests_finish() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let path = format!("/api/meetings/{}", id(&made));
    let mut holder = connect(backend.url()).await;
    sqlx::raw_sql("BEGIN; SELECT * FROM meetings FOR UPDATE")
        .execute(&mut holder)
        .await
        .unwrap();
    let put = backend
        .put(&path)
        .by(&team.admin)
        .json(&json!({"title": "Last"}))
        .send();
    let terminate = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(async || backend.number(waiting).await == 1).await;
        let environment = backend.environments("meetings-update").remove(0);
        let pid = environment.pid().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        // Until the signal has arrived, or at once.
        tokio::time::sleep(Duration::from_millis(100)).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        environment.ended().await
    };
    let (answer, status) = tokio::join!(put, terminate);
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(answer.is(200).header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn log_lines_name_their_invocation() {
    let backend = Backend::start().await;
    backend.admin("ada").await;
    let mut seen = Vec::new();
    for cold in [true, false] {
        let answer = backend
            .get("/api/users/me")
            .by(&Person::stranger("ada"))
            .send()
            .await
            .is(200);
        let line = answer.line();
        assert_eq!(line["cold_start"], cold, "{line}");
        assert_eq!(line["status"], 200, "{line}");
        seen.push(answer.invocation.request_id);
    }
    assert_ne!(seen[0], seen[1]);
}

/// A snapshot is taken of the whole process: a connection in it would be shared by all that are restored from it.
#[tokio::test]
async fn snapshot_holds_no_connection() {
    let backend = Backend::with(|function| function.snap_start = true).await;
    backend.admin("ada").await;
    let environment = backend.lambda().prepare("users-me").await.unwrap();
    assert_eq!(environment.phase(), Phase::Snapshot);
    until(async || backend.number(&sessions("users-me")).await == 0).await;
    let answer = backend
        .get("/api/users/me")
        .by(&Person::stranger("ada"))
        .send()
        .await
        .is(200);
    assert_eq!(answer.environment().pid(), environment.pid());
    assert_eq!(backend.number(&sessions("users-me")).await, 1);
}

#[tokio::test]
async fn requests_share_one_environment() {
    for (parameters, most) in [("", 8), ("?connection_limit=2", 2)] {
        let backend = Backend::with(|function| {
            function.max_concurrency = 8;
            for (name, value) in &mut function.env {
                if name == "DATABASE_URL" {
                    value.push_str(parameters);
                }
            }
        })
        .await;
        let team = backend.team("one").await;
        let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
        backend.get(&path).by(&team.admin).send().await.is(200);
        for _ in 0..5 {
            let answers = join_all((0..8).map(|_| backend.get(&path).by(&team.member).send())).await;
            assert!(answers.iter().all(|answer| answer.status == 200));
        }
        assert_eq!(backend.environments("meetings-get").len(), 1);
        let open = backend.number(&sessions("meetings-get")).await;
        assert!((1..=most).contains(&open), "{open} sessions for a pool of {most}");
    }
}

/// Another session locks the row, and the function has two seconds: it answers before it is killed, nothing is changed,
/// and it works again when the row is unlocked.
#[tokio::test]
async fn locked_row_is_answered_in_time() {
    let backend = Backend::with(|function| function.timeout = Duration::from_secs(2)).await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let path = format!("/api/meetings/{}", id(&made));
    let mut holder = connect(backend.url()).await;
    let hold = "BEGIN; SELECT * FROM meetings FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let put = async |title: &str| {
        backend
            .put(&path)
            .by(&team.admin)
            .json(&json!({"title": title}))
            .send()
            .await
    };
    let held = put("Held").await.problem(503, "database-unavailable");
    let log = held.environment().log();
    assert!(
        log.iter().any(|line| line.contains("timeout during statement")),
        "{log:#?}"
    );
    // A read waits for no lock.
    backend.get(&path).by(&team.member).send().await.is(200);

    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let free = put("Free").await.is(200);
    assert_eq!(free.environment().pid(), held.environment().pid());
    assert_eq!(
        free.header("etag"),
        Some("\"2\""),
        "the refused change was made after all"
    );
}
