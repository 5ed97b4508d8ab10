//! The environments of one function: assigns invocations to environments and takes them through INIT.
//!
//! Invariants: never reads payloads; most recently used first, throttled above the reserved concurrency, INIT within
//! ten seconds, and once more under the function's timeout if that failed. Depends on: [`super::environment`] for the
//! life of an environment.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::environment::{Environment, Phase};
use super::exchange::{Claim, NotReady, Served};
use super::function::Function;
use super::invocation::{Invocation, Outcome};
use super::lock;
use super::log::Forward;
use super::runtime_api::PAYLOAD_LIMIT;
use super::state::{Answer, Assignment};
use super::watchdog::Watchdog;

/// The limit of INIT before it is aborted and run again with the first invocation.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The same with SnapStart, where a longer function timeout counts.
const SNAP_START_INIT_LIMIT: Duration = Duration::from_secs(130);
/// The limit of a restore from a snapshot.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);

/// The environments of one function.
pub(super) struct Fleet {
    pub(super) function: Arc<Function>,
    pub(super) freezing: Arc<AtomicBool>,
    pub(super) watchdog: Arc<Watchdog>,
    pub(super) forward_logs: Option<Forward>,
    /// Allows one process to start at a time; shared by all fleets.
    pub(super) starting: Arc<Semaphore>,
    pub(super) members: Mutex<Members>,
}

#[derive(Default)]
pub(super) struct Members {
    environments: Vec<Arc<Environment>>,
    /// Environments whose process is being started outside the lock.
    starting: usize,
    closed: bool,
}

impl Members {
    fn forget_the_dead(&mut self) {
        self.environments.retain(|environment| environment.is_alive());
    }
}

/// The deadline of an invocation, on both clocks.
struct TimeLimit {
    deadline: Instant,
    deadline_ms: u128,
}

impl TimeLimit {
    fn from_now(timeout: Duration) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + timeout;
        Self {
            deadline: Instant::now() + timeout,
            deadline_ms: wall.as_millis(),
        }
    }
}

impl Fleet {
    /// Returns the live environments, oldest first.
    pub(super) fn living(&self) -> Vec<Arc<Environment>> {
        let mut members = lock(&self.members);
        members.forget_the_dead();
        members.environments.clone()
    }

    /// Kills every environment, and from now on each new one at once.
    pub(super) fn close(&self) {
        let mut members = lock(&self.members);
        members.closed = true;
        for environment in &members.environments {
            environment.kill();
        }
    }

    /// Returns the limit of INIT.
    pub(super) fn init_limit(&self) -> Duration {
        if self.function.snap_start {
            SNAP_START_INIT_LIMIT.max(self.function.timeout)
        } else {
            INIT_LIMIT
        }
    }

    /// Claims a slot of the most recently used environment that has a free one.
    fn claim(&self) -> Option<Claim> {
        let mut warm = self.living();
        warm.sort_by_cached_key(|environment| std::cmp::Reverse(environment.last_used()));
        warm.iter().find_map(Environment::claim)
    }

    /// Starts a new environment, or returns `None` at the reserved concurrency. Processes are started one after
    /// another, off the threads that deliver events and answers, so that the first environments of a burst do not wait
    /// for the last.
    pub(super) async fn start(self: &Arc<Self>) -> anyhow::Result<Option<Claim>> {
        let _turn = self.starting.acquire().await?;
        let fleet = Arc::clone(self);
        tokio::task::spawn_blocking(move || fleet.start_now()).await?
    }

    fn start_now(&self) -> anyhow::Result<Option<Claim>> {
        {
            let mut members = lock(&self.members);
            members.forget_the_dead();
            let now = members.environments.len() + members.starting;
            if self.function.reserved_concurrency.is_some_and(|limit| now >= limit) {
                return Ok(None);
            }
            members.starting += 1;
        }
        let (function, freezing) = (&self.function, &self.freezing);
        let started = Environment::start(function, freezing, &self.watchdog, self.forward_logs);
        let mut members = lock(&self.members);
        members.starting -= 1;
        let claim = started?;
        if members.closed {
            claim.environment().kill();
        }
        members.environments.push(Arc::clone(claim.environment()));
        Ok(Some(claim))
    }

    /// Runs one invocation to its outcome.
    pub(super) async fn invoke(self: &Arc<Self>, payload: Bytes, cold: bool) -> anyhow::Result<Invocation> {
        let mut invocation = Invocation {
            request_id: uuid::Uuid::new_v4().to_string(),
            outcome: Outcome::Throttled,
            environment: None,
            cold_start: false,
            init_duration: None,
            duration: Duration::ZERO,
        };
        if payload.len() > PAYLOAD_LIMIT {
            invocation.outcome = Outcome::TooLarge;
            return Ok(invocation);
        }
        let warm = if cold { None } else { self.claim() };
        let claim = match warm {
            Some(claim) => {
                invocation.cold_start = claim.environment().phase() == Phase::Snapshot;
                claim
            }
            None => {
                invocation.cold_start = true;
                match self.start().await? {
                    Some(claim) => claim,
                    None => {
                        return Ok(Invocation {
                            cold_start: false,
                            ..invocation
                        });
                    }
                }
            }
        };
        self.see_through(claim, &mut invocation, payload).await?;
        Ok(invocation)
    }

    /// Takes the environment through INIT and restore, and then the event through the environment.
    async fn see_through(
        self: &Arc<Self>,
        mut claim: Claim,
        invocation: &mut Invocation,
        payload: Bytes,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut limit = None;
        if let Err(why) = claim.environment().initialized(begun + self.init_limit()).await {
            // Lambda runs INIT once more, now with the invocation waiting and under the function's timeout.
            claim
                .environment()
                .note(&format!("INIT_REPORT Phase: init Status: {}", why.status()));
            let _ = claim.environment().destroy().await;
            let again = TimeLimit::from_now(self.function.timeout);
            match self.start().await? {
                Some(second) => claim = second,
                None => return Ok(()),
            }
            if let Err(why) = claim.environment().initialized(again.deadline).await {
                claim
                    .environment()
                    .note(&format!("INIT_REPORT Phase: invoke Status: {}", why.status()));
                let _ = claim.environment().destroy().await;
                invocation.environment = Some(Arc::clone(claim.environment()));
                invocation.duration = begun.elapsed();
                invocation.outcome = why.outcome();
                return Ok(());
            }
            limit = Some(again);
        }
        let environment = Arc::clone(claim.environment());
        invocation.environment = Some(Arc::clone(&environment));
        if let Err(why) = environment.restored(Instant::now() + RESTORE_LIMIT).await {
            environment.note(&format!("RESTORE_REPORT Status: {}", why.status()));
            let _ = environment.destroy().await;
            invocation.outcome = Outcome::InitFailed(why.report());
            return Ok(());
        }
        if invocation.cold_start && limit.is_none() {
            invocation.init_duration = Some(begun.elapsed());
        }

        let served = Instant::now();
        let limit = limit.unwrap_or_else(|| TimeLimit::from_now(self.function.timeout));
        let request_id = invocation.request_id.clone();
        let assignment = Assignment {
            request_id,
            payload,
            deadline_ms: limit.deadline_ms,
        };
        invocation.outcome = match environment.serve(assignment, limit.deadline).await {
            Served::Answered(Answer::Response(payload)) => Outcome::Success(payload),
            Served::Answered(Answer::Error(report)) => Outcome::FunctionError(report),
            Served::TimedOut => {
                let (id, seconds) = (&invocation.request_id, self.function.timeout.as_secs_f64());
                environment.note(&format!("{id} Task timed out after {seconds:.2} seconds"));
                Outcome::TimedOut
            }
            Served::Ended(status) => {
                let id = &invocation.request_id;
                environment.note(&format!("RequestId: {id} Error: Runtime exited with error: {status}"));
                Outcome::Crashed(status)
            }
        };
        invocation.duration = served.elapsed();
        Ok(())
    }
}

impl NotReady {
    fn status(&self) -> String {
        match self {
            Self::TimedOut => "timeout".to_owned(),
            Self::Reported(_) => "error Error Type: Runtime.InitError".to_owned(),
            Self::Ended(status) => format!("error Error Type: Runtime.ExitError ({status})"),
        }
    }

    /// Returns the service's report for the caller.
    pub(super) fn report(self) -> Bytes {
        let (kind, message) = match self {
            Self::Reported(report) => return report,
            Self::TimedOut => (
                "Sandbox.Timedout",
                "Error: the environment was not ready in time".to_owned(),
            ),
            Self::Ended(status) => (
                "Runtime.ExitError",
                format!("Error: Runtime exited with error: {status}"),
            ),
        };
        Bytes::from(json!({"errorType": kind, "errorMessage": message}).to_string())
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::TimedOut => Outcome::TimedOut,
            Self::Reported(_) | Self::Ended(_) => Outcome::InitFailed(self.report()),
        }
    }
}
