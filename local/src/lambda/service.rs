//! The service: takes invocations, routes each to an idle environment or a new one, and says how it went.
//!
//! It may not look into payloads. It relies on [`super::environment`] for the life of an environment, and
//! keeps the rules around it: INIT within ten seconds, once more under the function's timeout when that
//! failed, most recently used first, throttled above the reserved concurrency.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::body::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::environment::{Answer, Assignment, Claim, Environment, NotReady, Phase, Served};
use super::function::Function;
use super::lock;
use super::runtime_api::PAYLOAD_LIMIT;
use super::watchdog::Watchdog;

/// What INIT may take before it is cut and run again with the first invocation.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The same with SnapStart, where the function's timeout counts when it is longer.
const SNAP_START_INIT_LIMIT: Duration = Duration::from_secs(130);
/// What a restore from a snapshot may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);

/// How a [`Lambda`] behaves, beyond what its functions say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Freeze environments between invocations, as Lambda does.
    pub freeze: bool,
    /// Write every log line to our standard error too, after the function's name.
    pub forward_logs: bool,
}

impl Default for Options {
    /// Freezing, and logs only kept.
    fn default() -> Self {
        Self {
            freeze: true,
            forward_logs: false,
        }
    }
}

/// The emulated service with all its execution environments. Dropping it kills them all.
pub struct Lambda {
    fleets: HashMap<String, Arc<Fleet>>,
    freezing: Arc<AtomicBool>,
}

/// The event of an invocation: JSON text, up to 6 MiB.
#[derive(Clone, Debug)]
pub struct Payload(Bytes);

impl From<Value> for Payload {
    fn from(event: Value) -> Self {
        Self::from(&event)
    }
}

impl From<&Value> for Payload {
    fn from(event: &Value) -> Self {
        Self(Bytes::from(event.to_string()))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(event: Vec<u8>) -> Self {
        Self(Bytes::from(event))
    }
}

impl From<Bytes> for Payload {
    fn from(event: Bytes) -> Self {
        Self(event)
    }
}

/// One invocation that is over.
#[derive(Clone)]
pub struct Invocation {
    /// The id the function saw.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The environment it ran in, alive or not; `None` when it was refused before it reached one.
    pub environment: Option<Arc<Environment>>,
    /// Whether INIT, or the restore of a snapshot, ran for this invocation.
    pub cold_start: bool,
    /// What that INIT or restore took; `None` when there was none or it did not succeed.
    pub init_duration: Option<Duration>,
    /// From the event's readiness to the outcome, without a successful INIT before it.
    pub duration: Duration,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered with this payload.
    Success(Bytes),
    /// The function reported an error, or its answer was too large: the report, as JSON.
    FunctionError(Bytes),
    /// The function's timeout passed, and its process was killed.
    TimedOut,
    /// The process ended before it answered.
    Crashed(ExitStatus),
    /// INIT failed twice, or a restore did: the report, as JSON.
    InitFailed(Bytes),
    /// The function's environments are at their limit and busy.
    Throttled,
    /// The event is larger than 6 MiB.
    TooLarge,
}

impl Lambda {
    /// Takes the functions into service; their environments start with the invocations. Raises this
    /// process's limit of open files as far as it may, because an environment costs five.
    ///
    /// # Errors
    /// A binary that does not exist, two functions of one name, or no `/bin/sh`.
    pub fn start(
        functions: impl IntoIterator<Item = Function>,
        options: Options,
    ) -> anyhow::Result<Self> {
        raise_open_files();
        let watchdog = Arc::new(Watchdog::start()?);
        let freezing = Arc::new(AtomicBool::new(options.freeze));
        let mut fleets = HashMap::new();
        for mut function in functions {
            let binary = function.binary.canonicalize();
            function.binary = binary.with_context(|| {
                format!(
                    "function {}: no binary {}",
                    function.name,
                    function.binary.display()
                )
            })?;
            let name = function.name.clone();
            let fleet = Fleet {
                function: Arc::new(function),
                freezing: Arc::clone(&freezing),
                watchdog: Arc::clone(&watchdog),
                forward_logs: options.forward_logs,
                members: Mutex::default(),
            };
            if fleets.insert(name.clone(), Arc::new(fleet)).is_some() {
                anyhow::bail!("two functions are named {name}");
            }
        }
        Ok(Self { fleets, freezing })
    }

    /// The functions in service.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.fleets.values().map(|fleet| &*fleet.function)
    }

    /// Invokes a function and waits for the outcome: at most INIT's limit and twice the function's
    /// timeout. Dropping the future leaves the invocation running, as a caller who hangs up does.
    ///
    /// # Errors
    /// An unknown function, or an environment that this machine cannot start (no binary, no more
    /// processes or files). Whatever the function does is an [`Outcome`].
    pub async fn invoke(
        &self,
        name: &str,
        payload: impl Into<Payload>,
    ) -> anyhow::Result<Invocation> {
        self.run(name, payload.into(), false).await
    }

    /// As [`Self::invoke`], always in a new environment: joined together, several are a cold burst.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub async fn invoke_cold(
        &self,
        name: &str,
        payload: impl Into<Payload>,
    ) -> anyhow::Result<Invocation> {
        self.run(name, payload.into(), true).await
    }

    /// Starts an environment without an invocation, as provisioned concurrency does, and waits for the
    /// end of INIT; with SnapStart it then holds at the snapshot.
    ///
    /// # Errors
    /// As [`Self::invoke`], and an INIT that fails.
    pub async fn prepare(&self, name: &str) -> anyhow::Result<Arc<Environment>> {
        let fleet = self.fleet(name)?;
        let claim = fleet
            .start()?
            .with_context(|| format!("function {name} is at its reserved concurrency"))?;
        let environment = Arc::clone(claim.environment());
        match environment
            .initialized(Instant::now() + fleet.init_limit())
            .await
        {
            Ok(()) => Ok(environment),
            Err(why) => {
                let _ = environment.destroy().await;
                Err(anyhow::anyhow!(
                    "INIT of {name} failed: {}",
                    String::from_utf8_lossy(&why.report())
                ))
            }
        }
    }

    /// The function's live environments, oldest first; none for an unknown function.
    pub fn environments(&self, name: &str) -> Vec<Arc<Environment>> {
        self.fleets
            .get(name)
            .map(|fleet| fleet.living())
            .unwrap_or_default()
    }

    /// Switches automatic freezing. On: everything idle freezes now. Off: everything frozen thaws now.
    pub fn set_freezing(&self, on: bool) {
        self.freezing.store(on, Ordering::Relaxed);
        for environment in self.fleets.values().flat_map(|fleet| fleet.living()) {
            if on {
                environment.freeze_if_idle();
            } else {
                environment.thaw();
            }
        }
    }

    /// Destroys every environment of a function at once, with no goodbye. Returns how many it ended.
    pub async fn destroy_all(&self, name: &str) -> usize {
        let living = self.environments(name);
        for environment in &living {
            environment.kill();
        }
        let mut ended = 0;
        for environment in &living {
            ended += usize::from(environment.destroy().await.is_some());
        }
        ended
    }

    /// Shuts every environment down as [`Environment::shutdown`] does, all at the same time.
    pub async fn shutdown(&self) {
        let mut shutdowns = tokio::task::JoinSet::new();
        for environment in self.fleets.values().flat_map(|fleet| fleet.living()) {
            shutdowns.spawn(async move { environment.shutdown().await });
        }
        while shutdowns.join_next().await.is_some() {}
    }

    fn fleet(&self, name: &str) -> anyhow::Result<&Arc<Fleet>> {
        self.fleets
            .get(name)
            .with_context(|| format!("no function is named {name}"))
    }

    async fn run(&self, name: &str, payload: Payload, cold: bool) -> anyhow::Result<Invocation> {
        let fleet = Arc::clone(self.fleet(name)?);
        tokio::spawn(async move { fleet.invoke(payload.0, cold).await })
            .await
            .context("the invocation was cut short")?
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        for fleet in self.fleets.values() {
            let mut members = lock(&fleet.members);
            members.closed = true;
            for environment in &members.environments {
                environment.kill();
            }
        }
    }
}

/// The environments of one function.
struct Fleet {
    function: Arc<Function>,
    freezing: Arc<AtomicBool>,
    watchdog: Arc<Watchdog>,
    forward_logs: bool,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    environments: Vec<Arc<Environment>>,
    /// Environments whose process is being started outside the lock.
    starting: usize,
    closed: bool,
}

/// The time an invocation has, on both clocks.
struct TimeLimit {
    deadline: Instant,
    deadline_ms: u128,
}

impl TimeLimit {
    fn from_now(timeout: Duration) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + timeout;
        Self {
            deadline: Instant::now() + timeout,
            deadline_ms: wall.as_millis(),
        }
    }
}

impl Fleet {
    fn living(&self) -> Vec<Arc<Environment>> {
        let mut members = lock(&self.members);
        members
            .environments
            .retain(|environment| environment.is_alive());
        members.environments.clone()
    }

    fn init_limit(&self) -> Duration {
        if self.function.snap_start {
            SNAP_START_INIT_LIMIT.max(self.function.timeout)
        } else {
            INIT_LIMIT
        }
    }

    /// A slot of the most recently used environment that has one.
    fn claim(&self) -> Option<Claim> {
        let mut warm = self.living();
        warm.sort_by_cached_key(|environment| std::cmp::Reverse(environment.last_used()));
        warm.iter().find_map(Environment::claim)
    }

    /// A new environment, or `None` at the reserved concurrency.
    fn start(&self) -> anyhow::Result<Option<Claim>> {
        {
            let mut members = lock(&self.members);
            members
                .environments
                .retain(|environment| environment.is_alive());
            let now = members.environments.len() + members.starting;
            if self
                .function
                .reserved_concurrency
                .is_some_and(|limit| now >= limit)
            {
                return Ok(None);
            }
            members.starting += 1;
        }
        let started = Environment::start(
            &self.function,
            &self.freezing,
            &self.watchdog,
            self.forward_logs,
        );
        let mut members = lock(&self.members);
        members.starting -= 1;
        let claim = started?;
        if members.closed {
            claim.environment().kill();
        }
        members.environments.push(Arc::clone(claim.environment()));
        Ok(Some(claim))
    }

    async fn invoke(&self, payload: Bytes, cold: bool) -> anyhow::Result<Invocation> {
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
                match self.start()? {
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

    /// Sees the environment through INIT and restore, and the event through the environment.
    async fn see_through(
        &self,
        mut claim: Claim,
        invocation: &mut Invocation,
        payload: Bytes,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut limit = None;
        if let Err(why) = claim
            .environment()
            .initialized(begun + self.init_limit())
            .await
        {
            // Lambda runs INIT once more, now with the invocation waiting and under the function's timeout.
            claim
                .environment()
                .note(&format!("INIT_REPORT Phase: init Status: {}", why.status()));
            let _ = claim.environment().destroy().await;
            let again = TimeLimit::from_now(self.function.timeout);
            match self.start()? {
                Some(second) => claim = second,
                None => return Ok(()),
            }
            if let Err(why) = claim.environment().initialized(again.deadline).await {
                claim.environment().note(&format!(
                    "INIT_REPORT Phase: invoke Status: {}",
                    why.status()
                ));
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
                environment.note(&format!(
                    "RequestId: {id} Error: Runtime exited with error: {status}"
                ));
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

    /// What the service tells the caller.
    fn report(self) -> Bytes {
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

/// Lifts the soft limit of open files to the hard one; where that is refused, it stays as it is.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
