//! One warm connection: reused by every invocation, counted on the wire, and replaced after it has died.
//!
//! `shared/src/db/socket.rs`, where the socket's options are set, tests a connect over TLS, and that no packet waits
//! for the acknowledgement of another.

use serde_json::json;

use super::backend::Backend;
use super::people::{id, meeting};

/// Terminates the server's side of every session of one function, like a restart or an administrator.
async fn terminate(backend: &Backend, function: &str) {
    let ended = format!(
        "SELECT count(*) FROM (SELECT pg_terminate_backend(pid, 10000) AS done FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = '{function}:$LATEST') t WHERE done"
    );
    assert_eq!(backend.number(&ended).await, 1, "{function} had not one session");
}

/// Returns the only environment of a function, frozen.
async fn frozen(backend: &Backend, function: &str) -> u32 {
    let environments = backend.environments(function);
    let [environment] = &environments[..] else {
        panic!("{} environments of {function}", environments.len())
    };
    assert!(environment.until_frozen().await);
    environment.pid()
}

#[tokio::test]
async fn warm_invocations_use_one_session() {
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

#[tokio::test]
async fn frozen_session_loss_reconnects() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    backend.get(&path).by(&team.admin).send().await.is(200);
    let pid = frozen(&backend, "meetings-get").await;
    terminate(&backend, "meetings-get").await;
    let opened = proxy.counts().opened;
    let answer = backend.get(&path).by(&team.admin).send().await.is(200);
    assert_eq!(answer.environment().pid(), pid);
    assert_eq!(proxy.counts().opened, opened + 1);
}

#[tokio::test]
async fn write_after_session_end_applies_once() {
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

/// Nothing that is sent arrives, and there is no error: like a flow that an address translator has forgotten.
#[tokio::test]
async fn frozen_path_loss_reconnects() {
    let (backend, proxy) = Backend::behind_proxy().await;
    let team = backend.team("one").await;
    let path = format!("/api/meetings/{}", id(&backend.meeting(&team, json!({})).await));
    backend.get(&path).by(&team.admin).send().await.is(200);
    let pid = frozen(&backend, "meetings-get").await;
    proxy.silence();
    let opened = proxy.counts().opened;
    let answer = backend.get(&path).by(&team.admin).send().await.is(200);
    assert_eq!(answer.environment().pid(), pid);
    assert_eq!(proxy.counts().opened, opened + 1);
}
