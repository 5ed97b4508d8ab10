//! Plays a scenario: creates the scene, drives load and faults, runs the oracle.
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
use super::history::History;
use super::operations::Kind;
use super::oracle::{self, Verdict};
use super::played::Played;
use super::scenario::{Load, Scenario, Strike};
use super::scene::{Ground, Scene, Stage};
use super::surroundings;
use crate::postgres::Pooler;
use crate::proxy::Door;

/// Requests of each client after the last fault was cleared.
const AFTERWARDS: usize = 3;

/// Longer than a fleet under load needs to hit a fault.
const MET: Duration = Duration::from_secs(60);

/// Returns why a scenario cannot be played on this machine, if it cannot.
pub fn missing(stage: &Stage) -> Option<&'static str> {
    if stage.pooler && Pooler::find().is_none() {
        return Some("pgbouncer is not installed");
    }
    if stage.keeps_statements && Pooler::find_with_prepared_statements().is_none() {
        return Some("there is no pgbouncer 1.21 or newer");
    }
    if stage.name.is_some() && !surroundings::has_names() {
        return Some("unshare gives a process no mounts of its own here");
    }
    if stage.moved_clock && !surroundings::has_clock() {
        return Some("libfaketime is not installed");
    }
    None
}

/// Plays a scenario with this seed. `progress` is called from time to time with the number of answered requests.
///
/// # Errors
/// Fails if the scene could not be created, or a fault could not be injected: this tells nothing about the functions.
pub async fn play(scenario: &Scenario, ground: &Ground, seed: u64, progress: impl Fn(usize)) -> Result<Played> {
    let scene = Scene::set(&scenario.stage, ground)
        .await
        .context("cannot set the scene")?;
    for fault in scenario.strikes.iter().flat_map(|strike| &strike.faults) {
        fault.prepare(&scene);
    }
    let history = Arc::new(History::begin());
    let mut clients = settled(scenario, seed, &scene, &history).await?;
    if scenario.cold {
        scene.lambda.shutdown().await;
    }
    let setting = history.count();
    if scenario.stage.door != Door::Open {
        scene.proxy.set_door(scenario.stage.door).await;
    }
    let before = scene.proxy.counts();

    {
        let load = run(scenario, &scene, &history, &mut clients, setting);
        tokio::pin!(load);
        let mut told = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                played = &mut load => break played?,
                _ = told.tick() => progress(history.count()),
            }
        }
    }

    let counts = scene.proxy.counts();
    // Other designs wrote nothing and guaranteed nothing.
    let verdict = if scene.peer {
        Verdict::default()
    } else {
        let mut faults = scenario.strikes.iter().flat_map(|strike| &strike.faults);
        let left = oracle::under_way(&scene, faults.any(|fault| fault.silences())).await?;
        let mut verdict = oracle::compare(&scene, &mut clients).await?;
        verdict.wrong.extend(left);
        verdict.wrong.extend(oracle::left_behind(&scene).await?);
        verdict
    };
    let entries = history.entries().split_off(setting);
    let spans = history.spans();
    let mut played = Played {
        name: scenario.name,
        about: scenario.about,
        recovery: None,
        cold: None,
        entries,
        spans,
        verdict,
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
    if !scene.peer {
        // A pooler detects its server's return up to a second late.
        let late = Duration::from_secs(if scene.has_pooler() { 2 } else { 0 });
        played.hold_health_against_the_faults(late);
    }
    let cuts = counts.cut - before.cut;
    for expectation in scenario.expectations.iter().filter(|_| !scene.peer) {
        played.hold_against(*expectation, cuts);
    }
    Ok(played)
}

/// Creates and registers the clients, each with some data to read.
async fn settled(scenario: &Scenario, seed: u64, scene: &Arc<Scene>, history: &Arc<History>) -> Result<Vec<Client>> {
    let count = match scenario.load {
        Load::Steady { clients, .. } => clients,
        Load::Rounds { .. } | Load::Burst { .. } => 1,
    };
    let mut settling = JoinSet::new();
    for number in 0..count {
        let mut client = Client::new(number, seed, scene, history);
        settling.spawn(async move {
            client.settle_in().await?;
            anyhow::Ok(client)
        });
    }
    let mut clients = Vec::new();
    while let Some(client) = settling.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

async fn run(
    scenario: &Scenario,
    scene: &Arc<Scene>,
    history: &Arc<History>,
    clients: &mut Vec<Client>,
    setting: usize,
) -> Result<()> {
    match scenario.load {
        Load::Steady { requests, kind, .. } => {
            let over = Arc::new(AtomicBool::new(false));
            let linger = scenario.lingers();
            let mut working = JoinSet::new();
            let begun = Begun::new(scenario, scene, history).await?;
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
            begun.go_on(&scenario.strikes, scene, history, setting).await?;
            sleep(linger).await;
            over.store(true, Ordering::Relaxed);
            while let Some(client) = working.join_next().await {
                clients.push(client??);
            }
        }
        Load::Rounds { rounds, kind, frozen } => {
            let client = clients.first_mut().context("a client")?;
            // Invoked first in the function's environment, so that every round finds it warm.
            client.act(kind).await?;
            for number in 0..rounds {
                if let Some(idle) = frozen {
                    rest(scene).await;
                    sleep(idle).await;
                }
                let strike = scenario.strikes.get(number % scenario.strikes.len().max(1));
                round(strike, scene, history, client, kind).await?;
            }
        }
        Load::Burst { environments, requests } => {
            let client = clients.first_mut().context("a client")?;
            let begun = Begun::new(scenario, scene, history).await?;
            client.burst(environments, requests).await?;
            begun.go_on(&scenario.strikes, scene, history, setting).await?;
            if !scenario.strikes.is_empty() {
                client.burst(environments.min(20), requests).await?;
            }
        }
    }
    Ok(())
}

async fn round(
    strike: Option<&Strike>,
    scene: &Scene,
    history: &History,
    client: &mut Client,
    kind: Kind,
) -> Result<()> {
    let mut struck = Vec::new();
    for fault in strike.iter().flat_map(|strike| &strike.faults) {
        struck.push((fault.to_string(), history.now(), fault.strike(scene).await?));
    }
    client.act(kind).await?;
    for (name, from, fault) in struck {
        history.add_span(name, from, from);
        fault.lift(scene).await?;
    }
    Ok(())
}

/// Waits until every environment is frozen.
async fn rest(scene: &Scene) {
    for function in scene.functions() {
        for environment in scene.lambda.environments(&function) {
            environment.until_frozen().await;
        }
    }
}

/// Faults that were in force before the load started.
struct Begun(Option<(Strike, Duration, Vec<super::fault::Struck>)>);

impl Begun {
    /// Injects the first faults, if they precede all answers.
    async fn new(scenario: &Scenario, scene: &Scene, history: &History) -> Result<Self> {
        let Some(first) = scenario.strikes.first().filter(|first| first.after == 0) else {
            return Ok(Self(None));
        };
        if matches!(scenario.load, Load::Burst { .. }) {
            return Ok(Self(None));
        }
        let from = history.now();
        let struck = strike(&first.faults, scene).await?;
        Ok(Self(Some((first.clone(), from, struck))))
    }

    /// Injects and clears the faults in their order.
    async fn go_on(self, strikes: &[Strike], scene: &Scene, history: &History, setting: usize) -> Result<()> {
        let mut begun = self.0;
        for next in strikes {
            let said = next.met.map(|sqlstate| (sqlstate, scene.proxy.errors(sqlstate)));
            let (now, from, struck) = match begun.take() {
                Some(begun) => begun,
                None => {
                    history.answered(setting + next.after).await;
                    let from = history.now();
                    (next.clone(), from, strike(&next.faults, scene).await?)
                }
            };
            sleep(now.hold).await;
            if let Some((sqlstate, known)) = said {
                let met = timeout(MET, scene.proxy.until_error(sqlstate, known)).await;
                met.with_context(|| format!("no {sqlstate} was ever met"))?;
            }
            for fault in struck {
                fault.lift(scene).await?;
            }
            let to = history.now();
            for fault in &now.faults {
                history.add_span(fault.to_string(), from, to);
            }
        }
        Ok(())
    }
}

async fn strike(faults: &[Fault], scene: &Scene) -> Result<Vec<super::fault::Struck>> {
    let mut struck = Vec::new();
    for fault in faults {
        struck.push(fault.strike(scene).await?);
    }
    Ok(struck)
}
