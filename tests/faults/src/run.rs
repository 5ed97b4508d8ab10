//! Plays a scenario: creates the testbed, drives load and faults, runs the oracle.
//!
//! Invariants: neither retries nor excuses anything. The service's own limits or a fault's limit every wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::fault::Fault;
use super::function;
use super::history::History;
use super::operations::{Workload, joined};
use super::oracle::{self, Verdict};
use super::played::Played;
use super::scenario::{Injection, Load, Scenario};
use super::surroundings;
use super::testbed::{Artifacts, Setup, Testbed};
use local::postgres::Pooler;
use local::proxy::Admission;

/// Requests of each client after the last fault was cleared.
const AFTERWARDS: usize = 3;

/// Longer than a fleet under load needs to hit a fault.
const MET: Duration = Duration::from_secs(60);

/// A client that sends the requests of a load one after the other.
pub(super) trait LoadClient: Send + 'static {
    /// Sends a request of this kind, and further ones as its answer demands.
    fn act(&mut self, kind: Workload) -> impl Future<Output = Result<()>> + Send;

    /// Waits for a client's time between two requests.
    fn pause(&mut self) -> impl Future<Output = ()> + Send;

    /// Sends a request to each of `environments` new environments at once, then `requests` more to all of them.
    fn burst(&mut self, environments: usize, requests: usize) -> impl Future<Output = Result<()>> + Send;
}

/// Returns why a scenario cannot be played on this machine, if it cannot.
pub fn missing(setup: &Setup) -> Option<&'static str> {
    if setup.pooler && Pooler::find().is_none() {
        return Some("pgbouncer is not installed");
    }
    if setup.keeps_statements && Pooler::find_with_prepared_statements().is_none() {
        return Some("there is no pgbouncer 1.21 or newer");
    }
    if setup.name.is_some() && !surroundings::has_names() {
        return Some("unshare gives a process no mounts of its own here");
    }
    if setup.moved_clock && !surroundings::has_clock() {
        return Some("libfaketime is not installed");
    }
    None
}

/// Plays a scenario with this seed. `progress` is called from time to time with the number of answered requests.
///
/// # Errors
/// Fails if the testbed could not be created, or a fault could not be injected: this tells nothing about the functions.
pub async fn play(scenario: &Scenario, artifacts: &Artifacts, seed: u64, progress: impl Fn(usize)) -> Result<Played> {
    let testbed = Testbed::create(&scenario.setup, artifacts)
        .await
        .context("cannot create the testbed")?;
    for fault in scenario.injections.iter().flat_map(|injection| &injection.faults) {
        fault.prepare(&testbed);
    }
    let history = Arc::new(History::begin());
    let count = match scenario.load {
        Load::Steady { clients, .. } => clients,
        Load::Rounds { .. } | Load::Burst { .. } => 1,
    };
    match artifacts {
        Artifacts::Product { .. } => {
            let mut clients = settled(count, seed, &testbed, &history).await?;
            let (mut played, cuts) = measure(scenario, &testbed, &history, &mut clients, progress).await?;
            let mut faults = scenario.injections.iter().flat_map(|injection| &injection.faults);
            let left = oracle::under_way(&testbed, faults.any(|fault| fault.silences())).await?;
            played.verdict = oracle::compare(&testbed, &mut clients).await?;
            played.verdict.wrong.extend(left);
            played.verdict.wrong.extend(oracle::left_behind(&testbed).await?);
            // An answer of health is kept for a second. A pooler detects its server's return up to a second late.
            let late = Duration::from_secs(if testbed.has_pooler() { 3 } else { 1 });
            played.hold_health_against_the_faults(late);
            for expectation in &scenario.expectations {
                played.hold_against(*expectation, cuts);
            }
            Ok(played)
        }
        Artifacts::Function(function) => {
            let mut clients = function::Client::settled(function, count, seed, &testbed, &history).await?;
            let (mut played, cuts) = measure(scenario, &testbed, &history, &mut clients, progress).await?;
            played.verdict = function::judge(function, scenario, &testbed, &mut clients, &played.entries, cuts).await?;
            Ok(played)
        }
    }
}

/// Runs the load and the faults. Returns the results with an empty verdict, and the number of orders carried out.
async fn measure<C: LoadClient>(
    scenario: &Scenario,
    testbed: &Arc<Testbed>,
    history: &Arc<History>,
    clients: &mut Vec<C>,
    progress: impl Fn(usize),
) -> Result<(Played, u64)> {
    if scenario.cold {
        testbed.lambda.shutdown().await;
    }
    let setting = history.count();
    if scenario.setup.admission != Admission::Open {
        testbed.proxy.set_admission(scenario.setup.admission).await;
    }
    let before = testbed.proxy.counts();

    {
        let load = run(scenario, testbed, history, clients, setting);
        tokio::pin!(load);
        let mut told = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                played = &mut load => break played?,
                _ = told.tick() => progress(history.count()),
            }
        }
    }

    let counts = testbed.proxy.counts();
    let entries = history.entries().split_off(setting);
    let spans = history.spans();
    let mut played = Played {
        name: scenario.name,
        about: scenario.about,
        recovery: None,
        cold: None,
        entries,
        spans,
        verdict: Verdict::default(),
        missed: Vec::new(),
        peak: counts.peak_sessions,
        opened: counts.opened - before.opened,
        wasted: (counts.opened - before.opened).saturating_sub(counts.used - before.used),
    };
    played.recovery = played.recovered();
    if matches!(scenario.load, Load::Burst { .. }) {
        let cold = played.entries.iter().filter(|entry| entry.cold);
        played.cold = cold.map(|entry| entry.took).max();
    }
    Ok((played, counts.cut - before.cut))
}

/// Creates and registers the clients, each with some data to read.
async fn settled(count: usize, seed: u64, testbed: &Arc<Testbed>, history: &Arc<History>) -> Result<Vec<Client>> {
    let mut settling = JoinSet::new();
    for number in 0..count {
        let mut client = Client::new(number, seed, testbed, history);
        settling.spawn(async move {
            client.settle_in().await?;
            anyhow::Ok(client)
        });
    }
    joined(settling).await
}

async fn run<C: LoadClient>(
    scenario: &Scenario,
    testbed: &Arc<Testbed>,
    history: &Arc<History>,
    clients: &mut Vec<C>,
    setting: usize,
) -> Result<()> {
    match scenario.load {
        Load::Steady { requests, kind, .. } => {
            let over = Arc::new(AtomicBool::new(false));
            let linger = scenario.lingers();
            let mut working = JoinSet::new();
            let begun = FirstFaults::new(scenario, testbed, history).await?;
            for mut client in clients.drain(..) {
                let over = Arc::clone(&over);
                working.spawn(async move {
                    let (mut done, mut afterwards) = (0, 0);
                    while done < requests || afterwards < AFTERWARDS {
                        client.act(kind).await?;
                        client.pause().await;
                        done += 1;
                        afterwards += usize::from(over.load(Ordering::Relaxed));
                    }
                    anyhow::Ok(client)
                });
            }
            begun.go_on(&scenario.injections, testbed, history, setting).await?;
            sleep(linger).await;
            over.store(true, Ordering::Relaxed);
            clients.extend(joined(working).await?);
        }
        Load::Rounds { rounds, kind, frozen } => {
            let client = clients.first_mut().context("a client")?;
            // Invoked first in the function's environment, so that every round finds it warm.
            client.act(kind).await?;
            for number in 0..rounds {
                if let Some(idle) = frozen {
                    rest(testbed).await;
                    sleep(idle).await;
                }
                let injection = scenario.injections.get(number % scenario.injections.len().max(1));
                round(injection, testbed, history, client, kind).await?;
            }
        }
        Load::Burst { environments, requests } => {
            let client = clients.first_mut().context("a client")?;
            let begun = FirstFaults::new(scenario, testbed, history).await?;
            client.burst(environments, requests).await?;
            begun.go_on(&scenario.injections, testbed, history, setting).await?;
            if !scenario.injections.is_empty() {
                client.burst(environments.min(20), requests).await?;
            }
        }
    }
    Ok(())
}

async fn round(
    injection: Option<&Injection>,
    testbed: &Testbed,
    history: &History,
    client: &mut impl LoadClient,
    kind: Workload,
) -> Result<()> {
    let mut active = Vec::new();
    for fault in injection.iter().flat_map(|injection| &injection.faults) {
        active.push((fault.to_string(), history.now(), fault.inject(testbed).await?));
    }
    client.act(kind).await?;
    for (name, from, fault) in active {
        history.add_span(name, from, from);
        fault.clear(testbed).await?;
    }
    Ok(())
}

/// Waits until every environment is frozen.
async fn rest(testbed: &Testbed) {
    for function in testbed.functions() {
        for environment in testbed.lambda.environments(&function) {
            environment.until_frozen().await;
        }
    }
}

/// Faults that were in force before the load started.
struct FirstFaults(Option<(Injection, Duration, Vec<super::fault::ActiveFault>)>);

impl FirstFaults {
    /// Injects the first faults, if they precede all answers.
    async fn new(scenario: &Scenario, testbed: &Testbed, history: &History) -> Result<Self> {
        let Some(first) = scenario.injections.first().filter(|first| first.after == 0) else {
            return Ok(Self(None));
        };
        if matches!(scenario.load, Load::Burst { .. }) {
            return Ok(Self(None));
        }
        let from = history.now();
        let active = inject(&first.faults, testbed).await?;
        Ok(Self(Some((first.clone(), from, active))))
    }

    /// Injects and clears the faults in their order.
    async fn go_on(self, injections: &[Injection], testbed: &Testbed, history: &History, setting: usize) -> Result<()> {
        let mut begun = self.0;
        for next in injections {
            let said = next.met.map(|sqlstate| (sqlstate, testbed.proxy.errors(sqlstate)));
            let (now, from, active) = match begun.take() {
                Some(begun) => begun,
                None => {
                    history.answered(setting + next.after).await;
                    let from = history.now();
                    (next.clone(), from, inject(&next.faults, testbed).await?)
                }
            };
            sleep(now.hold).await;
            if let Some((sqlstate, known)) = said {
                let met = timeout(MET, testbed.proxy.until_error(sqlstate, known)).await;
                met.with_context(|| format!("no {sqlstate} was ever met"))?;
            }
            for fault in active {
                fault.clear(testbed).await?;
            }
            let to = history.now();
            for fault in &now.faults {
                history.add_span(fault.to_string(), from, to);
            }
        }
        Ok(())
    }
}

async fn inject(faults: &[Fault], testbed: &Testbed) -> Result<Vec<super::fault::ActiveFault>> {
    let mut active = Vec::new();
    for fault in faults {
        active.push(fault.inject(testbed).await?);
    }
    Ok(active)
}
