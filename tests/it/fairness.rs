//! A caller who uses more than their share of an environment is told to wait; another caller is not. `shared` has the
//! test of a busy fleet, on a simulated clock.

use serde_json::json;

use super::backend::Backend;
use super::people::meeting;

/// Nothing of it passes while the test runs: the account after three bodies of a megabyte is over the burst for minutes.
const SHARE: &str = "1";

#[tokio::test]
async fn caller_over_share_is_told_to_wait() {
    let backend = Backend::with(|function| function.env.push(("CALLER_SHARE".to_owned(), SHARE.to_owned()))).await;
    let (busy, other) = (backend.team("one").await, backend.team("two").await);
    let text = "x".repeat(1_000_000);
    let large = meeting(busy.member.id, json!({ "unknown": text }));
    let send = || backend.post("/api/meetings").by(&busy.admin).json(&large);
    let mut refused = None;
    // The third is over the burst, whatever they took.
    for _ in 0..4 {
        let answer = send().send().await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.problem(422, "invalid");
    }
    let refused = refused
        .expect("a caller without a limit")
        .problem(429, "too-many-requests");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1, "{seconds}");
    // The same environment serves others, and other routes have accounts of their own.
    let small = meeting(other.member.id, json!({}));
    let served = backend.post("/api/meetings").by(&other.admin).json(&small).send().await;
    assert!(!served.is(201).invocation.cold_start);
    backend.get("/api/users/me").by(&busy.admin).send().await.is(200);
}

#[tokio::test]
async fn share_is_unlimited_by_default() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let text = "x".repeat(1_000_000);
    let large = meeting(team.member.id, json!({ "unknown": text }));
    for _ in 0..8 {
        let answer = backend.post("/api/meetings").by(&team.admin).json(&large).send().await;
        answer.problem(422, "invalid");
    }
}
