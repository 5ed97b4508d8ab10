//! The service: its functions and the operations on them.
//!
//! Invariants: does not decide where an invocation runs; [`super::fleet`] does. It holds the state that all fleets
//! share: the switch for freezing, the watchdog, and the limit of open files.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::environment::Environment;
use super::fleet::Fleet;
use super::function::Function;
use super::invocation::{Invocation, Payload};
use super::log::Forward;
use super::watchdog::Watchdog;

/// The behaviour of a [`Lambda`], beyond its functions' configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Freeze environments between invocations, as Lambda does.
    pub freeze: bool,
    /// Receives each log line, in addition to the kept log.
    pub forward_logs: Option<Forward>,
}

impl Default for Options {
    /// Freezes environments, and only keeps logs.
    fn default() -> Self {
        Self {
            freeze: true,
            forward_logs: None,
        }
    }
}

/// The emulated service with all its execution environments. Dropping it kills them all.
pub struct Lambda {
    fleets: HashMap<String, Arc<Fleet>>,
    freezing: Arc<AtomicBool>,
}

impl Lambda {
    /// Starts the service for these functions; environments start with the invocations. Raises this process's limit of
    /// open files as far as allowed, because an environment costs five.
    ///
    /// # Errors
    /// Fails if a binary does not exist, two functions have one name, or there is no `/bin/sh`.
    pub fn start(functions: impl IntoIterator<Item = Function>, options: Options) -> anyhow::Result<Self> {
        raise_open_files();
        let watchdog = Arc::new(Watchdog::start()?);
        let freezing = Arc::new(AtomicBool::new(options.freeze));
        let mut fleets = HashMap::new();
        // All share this machine's processors, so a second start would only slow down the first.
        let starting = Arc::new(Semaphore::new(1));
        for mut function in functions {
            let binary = function.binary.canonicalize();
            function.binary = binary
                .with_context(|| format!("function {}: no binary {}", function.name, function.binary.display()))?;
            let name = function.name.clone();
            let fleet = Fleet {
                function: Arc::new(function),
                freezing: Arc::clone(&freezing),
                watchdog: Arc::clone(&watchdog),
                forward_logs: options.forward_logs,
                starting: Arc::clone(&starting),
                members: Mutex::default(),
            };
            if fleets.insert(name.clone(), Arc::new(fleet)).is_some() {
                anyhow::bail!("two functions are named {name}");
            }
        }
        Ok(Self { fleets, freezing })
    }

    /// Returns the functions in service.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.fleets.values().map(|fleet| &*fleet.function)
    }

    /// Invokes a function and waits for the outcome: at most INIT's limit and twice the function's timeout. Failures of
    /// the function are an [`Outcome`](super::Outcome).
    ///
    /// # Errors
    /// Fails for an unknown function, or if this machine cannot start an environment (no binary, no more processes or
    /// files).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the invocation running, as on Lambda when a client disconnects.
    pub async fn invoke(&self, name: &str, payload: impl Into<Payload>) -> anyhow::Result<Invocation> {
        self.run(name, payload.into(), false).await
    }

    /// Invokes a function in a new environment; joined together, several calls are a cold burst. See [`Self::invoke`].
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub async fn invoke_cold(&self, name: &str, payload: impl Into<Payload>) -> anyhow::Result<Invocation> {
        self.run(name, payload.into(), true).await
    }

    /// Starts an environment without an invocation, as provisioned concurrency does, and waits for the end of INIT;
    /// with SnapStart it then stops at the snapshot.
    ///
    /// # Errors
    /// As [`Self::invoke`]; also fails if INIT does.
    pub async fn prepare(&self, name: &str) -> anyhow::Result<Arc<Environment>> {
        let fleet = self.fleet(name)?;
        let claim = fleet
            .start()
            .await?
            .with_context(|| format!("function {name} is at its reserved concurrency"))?;
        let environment = Arc::clone(claim.environment());
        match environment.initialized(Instant::now() + fleet.init_limit()).await {
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

    /// Returns the function's live environments, oldest first; none for an unknown function.
    pub fn environments(&self, name: &str) -> Vec<Arc<Environment>> {
        self.fleets.get(name).map(|fleet| fleet.living()).unwrap_or_default()
    }

    /// Switches automatic freezing. On: freezes every idle environment now. Off: thaws every frozen one now.
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

    /// Destroys every environment of a function at once, without a shutdown. Returns how many it ended.
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

    /// Replaces the function's environments, as a deployment of new code does: those that run answer what is in flight
    /// and are shut down, and later invocations start new ones. Returns when the old ones have ended.
    pub async fn replace(&self, name: &str) {
        let mut retirements = tokio::task::JoinSet::new();
        for environment in self.environments(name) {
            retirements.spawn(async move { environment.retire().await });
        }
        while retirements.join_next().await.is_some() {}
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
            fleet.close();
        }
    }
}

/// Raises the soft limit of open files to the hard one; if that is denied, the limit stays.
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
