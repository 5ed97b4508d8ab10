//! Execution environments with a real function (`examples/echo.rs`) in them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods
)]

use std::collections::HashSet;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use local::lambda::{Environment, Function, Invocation, Lambda, Options, Outcome, Phase};
use serde_json::{Value, json};

/// Longer than anything here takes; reached only if something hangs.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

fn echo() -> Function {
    let tests = std::env::current_exe().unwrap();
    let binary: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples/echo");
    assert!(
        binary.exists(),
        "cargo test builds it, with --test only: cargo build -p local --example echo"
    );
    Function {
        timeout: Duration::from_secs(20),
        ..Function::new("echo", binary)
    }
}

fn configured(variables: &[(&str, &str)]) -> Function {
    let env = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Function { env, ..echo() }
}

fn start(function: Function) -> Lambda {
    Lambda::start([function], Options::default()).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG_TIMEOUT, future).await.expect("it hangs")
}

async fn invoke(lambda: &Lambda, event: Value) -> Invocation {
    within(lambda.invoke("echo", event)).await.unwrap()
}

fn answer(invocation: &Invocation) -> Value {
    match &invocation.outcome {
        Outcome::Success(payload) => serde_json::from_slice(payload).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn environment(invocation: &Invocation) -> &Environment {
    invocation.environment.as_ref().unwrap()
}

/// Returns the kernel's state of the process: S sleeping, T stopped, Z ended and not reaped.
fn kernel_state(pid: u32) -> Option<char> {
    if Path::new("/proc/self/stat").exists() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        return stat.rsplit_once(") ")?.1.chars().next();
    }
    let pid = pid.to_string();
    let ps = Command::new("ps").args(["-o", "state=", "-p", &pid]).output().unwrap();
    String::from_utf8(ps.stdout).unwrap().trim().chars().next()
}

async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn event_and_answer_pass_unchanged() {
    let lambda = start(configured(&[("COLOUR", "green")]));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let invocation = invoke(&lambda, json!({"hello": ["wörld", 1.5, null]})).await;
    let answer = answer(&invocation);
    assert_eq!(answer["event"], json!({"hello": ["wörld", 1.5, null]}));
    assert_eq!(answer["request_id"], invocation.request_id.as_str());
    assert_eq!(answer["arn"], "arn:aws:lambda:us-east-1:123456789012:function:echo");
    let deadline = u128::from(answer["deadline_ms"].as_u64().unwrap());
    assert!(
        deadline >= (before + Duration::from_secs(20)).as_millis(),
        "the deadline is not the timeout's"
    );
    assert!(deadline <= (before + Duration::from_secs(20) + HANG_TIMEOUT).as_millis());

    let variables = answer["variables"].as_object().unwrap();
    assert_eq!(variables["COLOUR"], "green");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "echo");
    assert_eq!(variables["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand");
    assert!(!variables.contains_key("AWS_LAMBDA_MAX_CONCURRENCY"));
    assert!(
        !variables.contains_key("HOME") && !variables.contains_key("CARGO_MANIFEST_DIR"),
        "ours leaked"
    );
}

#[tokio::test]
async fn sequential_calls_share_a_process() {
    let lambda = start(echo());
    let first = invoke(&lambda, json!({})).await;
    assert!(first.cold_start && first.init_duration.is_some());
    for _ in 0..100 {
        let next = invoke(&lambda, json!({})).await;
        assert!(!next.cold_start && next.init_duration.is_none());
        assert_eq!(answer(&next)["pid"], answer(&first)["pid"]);
    }
    let lines = environment(&first).log();
    assert_eq!(lines.iter().filter(|line| *line == "INIT").count(), 1);
    assert_eq!(lines.iter().filter(|line| line.starts_with("handling")).count(), 101);
}

/// The environment that was used last serves the next call.
#[tokio::test]
async fn concurrent_calls_scale_out() {
    let lambda = start(echo());
    let slow = || invoke(&lambda, json!({"sleep_ms": 300}));
    let burst = tokio::join!(slow(), slow(), slow(), slow(), slow());
    let burst = [burst.0, burst.1, burst.2, burst.3, burst.4];
    let pids: HashSet<u64> = burst.iter().map(|one| answer(one)["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 5);
    assert_eq!(lambda.environments("echo").len(), 5);

    let one = invoke(&lambda, json!({})).await;
    for _ in 0..10 {
        assert_eq!(answer(&invoke(&lambda, json!({})).await)["pid"], answer(&one)["pid"]);
    }
    let cold = within(lambda.invoke_cold("echo", json!({}))).await.unwrap();
    assert!(cold.cold_start && !pids.contains(&answer(&cold)["pid"].as_u64().unwrap()));
}

#[tokio::test]
async fn process_is_frozen_between_calls() {
    let lambda = start(echo());
    for _ in 0..5 {
        let invocation = invoke(&lambda, json!({})).await;
        let environment = environment(&invocation);
        assert!(environment.until_frozen().await);
        assert_eq!(kernel_state(environment.pid()), Some('T'));
    }
    let prepared = within(lambda.prepare("echo")).await.unwrap();
    assert!(
        prepared.until_frozen().await,
        "it does not freeze after an INIT without an invocation"
    );
    assert_eq!(kernel_state(prepared.pid()), Some('T'));

    lambda.set_freezing(false);
    until(|| kernel_state(prepared.pid()) == Some('S')).await;
    let awake = invoke(&lambda, json!({})).await;
    assert!(!environment(&awake).is_frozen());
    lambda.set_freezing(true);
    assert!(environment(&awake).until_frozen().await);
}

#[tokio::test]
async fn manual_freeze_holds_the_call() {
    let lambda = start(echo());
    invoke(&lambda, json!({})).await;
    let environment = lambda.environments("echo").remove(0);
    let call = async { invoke(&lambda, json!({"sleep_ms": 50})).await };
    let interrupt = async {
        until(|| environment.in_flight() == 1 && environment.log().len() == 3).await;
        assert!(environment.freeze().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let held = environment.in_flight() == 1;
        environment.thaw();
        held
    };
    let (invocation, held) = tokio::join!(call, interrupt);
    assert!(held, "a stopped process answered");
    answer(&invocation);
}

#[tokio::test]
async fn call_after_timeout_is_fresh() {
    let lambda = start(Function {
        timeout: Duration::from_secs(1),
        ..echo()
    });
    let first = invoke(&lambda, json!({})).await;
    let late = invoke(&lambda, json!({"sleep_ms": 60_000})).await;
    assert_eq!(late.outcome, Outcome::TimedOut);
    assert_eq!(environment(&late).pid(), environment(&first).pid());
    assert_eq!(
        environment(&late).phase(),
        Phase::Ended(std::process::ExitStatus::from_raw(9))
    );
    assert!(
        environment(&late)
            .log()
            .iter()
            .any(|line| line.ends_with("Task timed out after 1.00 seconds"))
    );
    let next = invoke(&lambda, json!({})).await;
    assert!(next.cold_start);
    assert_ne!(answer(&next)["pid"], answer(&first)["pid"]);
}

#[tokio::test]
async fn call_after_crash_is_fresh() {
    let lambda = start(echo());
    let crashed = invoke(&lambda, json!({"exit": 7})).await;
    match crashed.outcome {
        Outcome::Crashed(status) => assert_eq!(status.code(), Some(7)),
        ref other => panic!("{other:?}"),
    }
    assert!(lambda.environments("echo").is_empty());
    assert!(
        environment(&crashed)
            .log()
            .iter()
            .any(|line| line.starts_with("handling")),
        "the log is cut"
    );
    assert!(invoke(&lambda, json!({})).await.cold_start);
}

#[tokio::test]
async fn function_error_keeps_environment() {
    let lambda = start(echo());
    let failed = invoke(&lambda, json!({"fail": "no luck"})).await;
    match &failed.outcome {
        Outcome::FunctionError(report) => {
            assert_eq!(
                serde_json::from_slice::<Value>(report).unwrap()["errorMessage"],
                "no luck"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        answer(&invoke(&lambda, json!({})).await)["pid"],
        environment(&failed).pid()
    );
}

#[tokio::test]
async fn payload_size_is_limited() {
    let lambda = start(echo());
    let fits = invoke(&lambda, json!({"large": 6 * 1024 * 1024})).await;
    assert!(matches!(fits.outcome, Outcome::Success(_)));
    let large = invoke(&lambda, json!({"large": 7 * 1024 * 1024})).await;
    match &large.outcome {
        Outcome::FunctionError(report) => {
            let report: Value = serde_json::from_slice(report).unwrap();
            assert_eq!(report["errorType"], "Function.ResponseSizeTooLarge");
        }
        other => panic!("{other:?}"),
    }
    let event = json!("x".repeat(7 * 1024 * 1024));
    assert_eq!(invoke(&lambda, event).await.outcome, Outcome::TooLarge);
    answer(&invoke(&lambda, json!({})).await);
}

#[tokio::test]
async fn failing_init_runs_twice() {
    let lambda = start(configured(&[("INIT_EXIT", "3")]));
    let failed = invoke(&lambda, json!({})).await;
    match &failed.outcome {
        Outcome::InitFailed(report) => {
            let report: Value = serde_json::from_slice(report).unwrap();
            assert_eq!(report["errorType"], "Runtime.ExitError");
            assert!(report["errorMessage"].as_str().unwrap().contains("exit status: 3"));
        }
        other => panic!("{other:?}"),
    }
    assert!(lambda.environments("echo").is_empty());
}

#[tokio::test]
async fn hung_init_reruns_under_the_timeout() {
    let lambda = start(Function {
        timeout: Duration::from_secs(1),
        ..configured(&[("INIT_HANG", "1")])
    });
    assert_eq!(invoke(&lambda, json!({})).await.outcome, Outcome::TimedOut);
    assert!(lambda.environments("echo").is_empty());
}

#[tokio::test]
async fn sigterm_needs_an_extension() {
    let lambda = start(configured(&[("GRACEFUL", "1")]));
    let invocation = invoke(&lambda, json!({})).await;
    let environment = environment(&invocation);
    assert!(
        environment.until_frozen().await,
        "an extension that waits keeps it awake"
    );
    let status = environment.shutdown().await.unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(environment.log().iter().any(|line| line == "goodbye"));

    let lambda = start(echo());
    let invocation = invoke(&lambda, json!({})).await;
    let status = invocation.environment.unwrap().shutdown().await.unwrap();
    assert_eq!(status.signal(), Some(9));
}

#[tokio::test]
async fn frozen_environment_is_destroyed() {
    let lambda = start(configured(&[("GRACEFUL", "1")]));
    let invocation = invoke(&lambda, json!({})).await;
    assert!(environment(&invocation).until_frozen().await);
    assert_eq!(lambda.destroy_all("echo").await, 1);
    assert_eq!(kernel_state(environment(&invocation).pid()), None);
    assert!(!environment(&invocation).log().iter().any(|line| line == "goodbye"));
    assert!(invoke(&lambda, json!({})).await.cold_start);
}

#[tokio::test]
async fn replaced_environment_answers_what_is_in_flight() {
    let lambda = start(configured(&[("GRACEFUL", "1")]));
    let warm = invoke(&lambda, json!({})).await;
    let old = environment(&warm);
    let replace = async {
        until(|| old.in_flight() == 1).await;
        lambda.replace("echo").await;
    };
    let (last, ()) = tokio::join!(invoke(&lambda, json!({"sleep_ms": 300})), replace);
    assert_eq!(answer(&last)["pid"], old.pid());
    assert_eq!(kernel_state(old.pid()), None);
    assert!(old.log().iter().any(|line| line == "goodbye"));
    assert!(invoke(&lambda, json!({})).await.cold_start);
}

#[tokio::test]
async fn excess_concurrency_is_throttled() {
    let lambda = start(Function {
        reserved_concurrency: Some(2),
        ..echo()
    });
    let slow = || invoke(&lambda, json!({"sleep_ms": 500}));
    let outcomes = tokio::join!(slow(), slow(), slow(), slow());
    let outcomes = [
        outcomes.0.outcome,
        outcomes.1.outcome,
        outcomes.2.outcome,
        outcomes.3.outcome,
    ];
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Outcome::Throttled)
            .count(),
        2
    );
    answer(&invoke(&lambda, json!({})).await);
}

#[tokio::test]
async fn shared_environment_freezes_once_idle() {
    let lambda = start(Function {
        max_concurrency: 4,
        ..echo()
    });
    let first = invoke(&lambda, json!({})).await;
    assert_eq!(answer(&first)["variables"]["AWS_LAMBDA_MAX_CONCURRENCY"], "4");
    assert!(environment(&first).until_frozen().await);
    let slow = || invoke(&lambda, json!({"sleep_ms": 300}));
    let four = tokio::join!(slow(), slow(), slow(), slow());
    for one in [&four.0, &four.1, &four.2, &four.3] {
        assert_eq!(answer(one)["pid"], answer(&first)["pid"]);
    }
    assert_eq!(lambda.environments("echo").len(), 1);
    assert!(environment(&first).until_frozen().await);
    let five = tokio::join!(slow(), slow(), slow(), slow(), slow());
    drop(five);
    assert_eq!(lambda.environments("echo").len(), 2);
}

#[tokio::test]
async fn snap_start_is_restored_by_a_call() {
    let lambda = start(Function {
        snap_start: true,
        ..echo()
    });
    let environment = within(lambda.prepare("echo")).await.unwrap();
    assert_eq!(environment.phase(), Phase::Snapshot);
    assert!(environment.until_frozen().await);
    assert_eq!(environment.log(), ["INIT", "before snapshot"]);
    let restored = invoke(&lambda, json!({})).await;
    assert!(restored.cold_start);
    assert_eq!(answer(&restored)["pid"], environment.pid());
    assert_eq!(
        answer(&restored)["variables"]["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "snap-start"
    );
    assert_eq!(environment.log()[2], "after restore");
    assert!(!invoke(&lambda, json!({})).await.cold_start);
}

#[tokio::test]
async fn failing_snap_start_hook_is_reported() {
    for hook in ["SNAPSHOT_FAILS", "RESTORE_FAILS"] {
        let function = configured(&[(hook, "no luck")]);
        let lambda = start(Function {
            snap_start: true,
            ..function
        });
        match invoke(&lambda, json!({})).await.outcome {
            Outcome::InitFailed(report) => {
                let report: Value = serde_json::from_slice(&report).unwrap();
                assert_eq!(report["errorMessage"], "no luck");
            }
            other => panic!("{hook}: {other:?}"),
        }
        assert!(lambda.environments("echo").is_empty());
    }
}

#[tokio::test]
async fn drop_ends_every_process() {
    let lambda = start(echo());
    let idle = invoke(&lambda, json!({})).await;
    assert!(environment(&idle).until_frozen().await);
    let pids: Vec<u32> = lambda
        .environments("echo")
        .iter()
        .map(|environment| environment.pid())
        .collect();
    drop(lambda);
    until(|| pids.iter().all(|pid| kernel_state(*pid).is_none())).await;
    assert!(matches!(environment(&idle).phase(), Phase::Ended(_)));
}

/// Not a test of its own: the process that the next test kills; it starts this binary again.
#[tokio::test]
async fn victim_of_a_sudden_death() {
    if std::env::var("SUDDEN_DEATH").is_err() {
        return;
    }
    let lambda = start(echo());
    let idle = invoke(&lambda, json!({})).await;
    assert!(environment(&idle).until_frozen().await);
    println!("frozen {}", environment(&idle).pid());
    tokio::time::sleep(HANG_TIMEOUT).await;
}

#[tokio::test]
async fn killed_service_ends_frozen_processes() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap());
    victim
        .args(["--exact", "victim_of_a_sudden_death", "--nocapture"])
        .env("SUDDEN_DEATH", "1");
    // The kernel ends a stopped group that is orphaned. Adopted by this process, which is in the same session, it is
    // not orphaned, and only the watchdog ends it.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut victim = victim.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let pid: u32 = loop {
        let line = within(lines.next_line())
            .await
            .unwrap()
            .expect("the victim ended early");
        if let Some((_, pid)) = line.split_once("frozen ") {
            break pid.parse().unwrap();
        }
    };
    assert_eq!(kernel_state(pid), Some('T'));
    victim.kill().await.unwrap();
    // Gone, or a zombie that its new parent has not reaped.
    until(|| matches!(kernel_state(pid), None | Some('Z'))).await;
}

#[tokio::test]
async fn missing_binary_or_function_is_named() {
    let missing = Lambda::start([Function::new("ghost", "/nowhere/ghost")], Options::default());
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("function ghost: no binary /nowhere/ghost")
    );
    let lambda = start(echo());
    let unknown = within(lambda.invoke("ghost", json!({}))).await;
    assert_eq!(unknown.err().unwrap().to_string(), "no function is named ghost");
}

#[tokio::test]
async fn many_environments_live_at_once() {
    let lambda = std::sync::Arc::new(start(echo()));
    let mut burst = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let lambda = std::sync::Arc::clone(&lambda);
        burst.spawn(async move { lambda.invoke_cold("echo", json!({})).await.unwrap() });
    }
    let all = within(burst.join_all()).await;
    let pids: HashSet<u64> = all.iter().map(|one| answer(one)["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 100);
    for environment in lambda.environments("echo") {
        assert!(environment.until_frozen().await);
    }
    within(lambda.shutdown()).await;
    assert!(lambda.environments("echo").is_empty());
    assert!(
        pids.iter()
            .all(|pid| kernel_state(u32::try_from(*pid).unwrap()).is_none())
    );
}
