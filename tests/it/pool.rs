//! One warm connection: used again by every invocation, counted on the wire, and replaced when it has died.
//!
//! What a connect looks like over TLS, and that no packet waits for another's acknowledgement, is tested where the
//! socket's options are set: `shared/src/db/socket.rs`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::backend::Backend;
use super::people::{id, meeting};

/// A connection that was used within this long is used again without being asked whether it lives.
const FRESH: Duration = Duration::from_secs(1);

/// Ends the server's side of every session of one function, as a restart or an administrator does.
async fn terminate(backend: &Backend, function: &str) {
    let ended = format!(
        "SELECT count(*) FROM (SELECT pg_terminate_backend(pid, 10000) AS done FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = '{function}:$LATEST') t WHERE done"
    );
    assert_eq!(backend.number(&ended).await, 1, "{function} had not one session");
}

/// The one environment of a function, frozen.
async fn frozen(backend: &Backend, function: &str) -> u32 {
    let environments = backend.environments(function);
    let [environment] = &environments[..] else {
        panic!("{} environments of {function}", environments.len())
    };
    assert!(environment.until_frozen().await);
    environment.pid()
}

#[tokio::test]
async fn a_hundred_invocations_are_one_session() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    let session = "SELECT pid::int8 FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'meetings-get:$LATEST'";
    let first = backend.get(&path).by(&team.admin).send().await.is(200);
    assert!(first.invocation.cold_start);
    let (opened, pid) = (proxy.counts().opened, backend.number(session).await);
    for _ in 0..100 {
        let next = backend.get(&path).by(&team.admin).send().await.is(200);
        assert!(!next.invocation.cold_start);
        assert_eq!(next.environment().pid(), first.environment().pid());
    }
    assert_eq!(proxy.counts().opened, opened, "another connection was made");
    assert_eq!(backend.number(session).await, pid);
    assert_eq!(backend.environments("meetings-get").len(), 1);
}

/// The round trips of one warm call, of several that follow each other closely enough to need no ping.
async fn round_trips(proxy: &local::proxy::Proxy, mut call: impl AsyncFnMut()) -> Vec<u64> {
    let mut trips = Vec::new();
    call().await;
    call().await;
    let mut last = Instant::now();
    // On a machine so loaded that each took a second there would be nothing to count.
    for _ in 0..200 {
        let before = proxy.counts().ready;
        call().await;
        // The connection was idle for less than the time since the last call ended.
        if last.elapsed() < FRESH {
            trips.push(proxy.counts().ready - before);
        }
        last = Instant::now();
        if trips.len() == 20 {
            break;
        }
    }
    assert_eq!(trips.len(), 20, "this machine is too slow to count");
    trips
}

#[tokio::test]
async fn a_warm_read_is_one_round_trip() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    backend.task(&team.admin, made, json!({})).await;
    for path in [
        "/api/users/me".to_owned(),
        "/api/meetings".to_owned(),
        format!("/api/meetings/{made}"),
        format!("/api/meetings/{made}/changes"),
        format!("/api/meetings/{made}/tasks"),
        "/api/meetings/tasks/all".to_owned(),
    ] {
        let trips = round_trips(&proxy, async || {
            drop(backend.get(&path).by(&team.admin).send().await.is(200))
        })
        .await;
        assert_eq!(trips, [1; 20], "{path}");
    }
}

#[tokio::test]
async fn a_warm_write_is_three_round_trips() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    let task = id(&backend.task(&team.admin, made, json!({})).await);
    let mut count = 0;
    for (method, path, body, status) in [
        (
            "POST",
            "/api/meetings".to_owned(),
            meeting(team.member.id, json!({})),
            201,
        ),
        ("PUT", format!("/api/meetings/{made}"), json!({"title": "New"}), 200),
        (
            "POST",
            format!("/api/meetings/{made}/tasks"),
            json!({"text": "New"}),
            201,
        ),
        (
            "PATCH",
            format!("/api/meetings/{made}/tasks/{task}"),
            json!({"status": "complete"}),
            200,
        ),
        (
            "POST",
            "/api/users/invite".to_owned(),
            json!({"email": "x@example.com"}),
            201,
        ),
        ("POST", "/api/users/register".to_owned(), json!({}), 200),
    ] {
        for keyed in [false, true] {
            let trips = round_trips(&proxy, async || {
                count += 1;
                let call = backend.call(method, &path).by(&team.admin).json(&body);
                let call = if keyed { call.key(&format!("key-{count}")) } else { call };
                call.send().await.is(status);
            })
            .await;
            assert_eq!(trips, [3; 20], "{method} {path}, with a key: {keyed}");
        }
    }
}

#[tokio::test]
async fn a_session_ended_while_frozen_costs_one_connect() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    backend.get(&path).by(&team.admin).send().await.is(200);
    // Sooner than it is asked whether it lives, and later.
    for idle in [Duration::ZERO, FRESH + Duration::from_millis(200)] {
        let pid = frozen(&backend, "meetings-get").await;
        terminate(&backend, "meetings-get").await;
        tokio::time::sleep(idle).await;
        let opened = proxy.counts().opened;
        let answer = backend.get(&path).by(&team.admin).send().await.is(200);
        assert_eq!(answer.environment().pid(), pid);
        assert_eq!(proxy.counts().opened, opened + 1, "idle for {idle:?}");
    }
}

#[tokio::test]
async fn a_write_after_its_session_was_ended_is_applied_once() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    backend.meeting(&team, json!({})).await;
    for round in 0..3 {
        let pid = frozen(&backend, "meetings-create").await;
        terminate(&backend, "meetings-create").await;
        let opened = proxy.counts().opened;
        let body = meeting(team.member.id, json!({"title": format!("Round {round}")}));
        let answer = backend
            .post("/api/meetings")
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .is(201);
        assert_eq!(answer.environment().pid(), pid);
        assert_eq!(proxy.counts().opened, opened + 1);
        assert_eq!(backend.number("SELECT count(*) FROM meetings").await, round + 2);
    }
}

/// Nothing that is sent arrives, and nothing says so: what an address translator leaves of a flow it has forgotten.
#[tokio::test]
async fn a_connection_that_fell_silent_while_frozen_costs_a_connect_and_no_timeout() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    backend.get(&path).by(&team.admin).send().await.is(200);
    let pid = frozen(&backend, "meetings-get").await;
    proxy.silence();
    // Long enough to be asked whether it lives.
    tokio::time::sleep(FRESH + Duration::from_millis(200)).await;
    let opened = proxy.counts().opened;
    let answer = backend.get(&path).by(&team.admin).send().await.is(200);
    assert_eq!(answer.environment().pid(), pid);
    assert_eq!(proxy.counts().opened, opened + 1);
}
