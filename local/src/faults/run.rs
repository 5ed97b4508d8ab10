//! Plays a scenario: sets the scene, drives load and faults, asks the oracle.
//!
//! May not retry or excuse anything. Every wait is bounded by the service's own limits or a fault's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::fault::Fault;
use super::history::{Entry, History, Seen, Span};
use super::operations::Kind;
use super::oracle::{self, Verdict};
use super::scenario::{Expectation, Load, Scenario, Strike};
use super::scene::{Ground, Scene, Stage};
use super::surroundings;
use crate::postgres::Pooler;

/// Requests of each client after the last fault was lifted.
const AFTERWARDS: usize = 3;

/// More than it takes a fleet under load to meet what is in force.
const MET: Duration = Duration::from_secs(60);

/// Functions that change nothing.
const READS: [&str; 7] = [
    "health",
    "meetings-changes",
    "meetings-get",
    "meetings-list",
    "tasks-all",
    "tasks-list",
    "users-me",
];

/// What a scenario came to.
#[derive(Clone, Debug)]
pub struct Played {
    /// The scenario's name.
    pub name: &'static str,
    /// What happened, in a sentence.
    pub about: &'static str,
    /// Every request and its answer, without those that set the scene.
    pub entries: Vec<Entry>,
    /// When each fault was in force.
    pub spans: Vec<Span>,
    /// What the tables say.
    pub verdict: Verdict,
    /// Figures that were not reached.
    pub missed: Vec<String>,
    /// From the last fault's end to the first success after it.
    pub recovery: Option<Duration>,
    /// Of a burst: the slowest first answer of an environment.
    pub cold: Option<Duration>,
    /// Connections that the database had taken, at their most.
    pub peak: usize,
    /// Connections that were opened.
    pub opened: u64,
}

/// Why a scenario cannot be played on this machine, if it cannot.
pub fn missing(stage: &Stage) -> Option<&'static str> {
    if stage.pooler && Pooler::find().is_none() {
        return Some("pgbouncer is not installed");
    }
    if stage.by_name && !surroundings::has_names() {
        return Some("unshare gives a process no mounts of its own here");
    }
    if stage.moved_clock && !surroundings::has_clock() {
        return Some("libfaketime is not installed");
    }
    None
}

/// Plays a scenario from this seed. `progress` is told, now and then, how many requests have been answered.
///
/// # Errors
/// The scene could not be set, or a fault not be brought about: that says nothing about the functions.
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
    // Other designs wrote nothing and promised nothing.
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
    };
    played.recovery = played.recovered();
    if matches!(scenario.load, Load::Burst { .. }) {
        let cold = played.entries.iter().filter(|entry| entry.cold);
        played.cold = cold.map(|entry| entry.took).max();
    }
    if !scene.peer {
        // A pooler learns a second late that its server is back.
        let late = Duration::from_secs(if scene.has_pooler() { 2 } else { 0 });
        played.hold_health_against_the_faults(late);
    }
    let cuts = counts.cut - before.cut;
    for expectation in scenario.expectations.iter().filter(|_| !scene.peer) {
        played.hold_against(*expectation, cuts);
    }
    Ok(played)
}

impl Played {
    /// Entries with the answer that was asked for.
    pub fn served(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Served(_)))
    }

    /// Entries with `commit-unknown`.
    pub fn unknown(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Unknown))
    }

    /// Entries with a 503 of ours, or with a 409 that asks to wait.
    pub fn refused(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Refused | Seen::Unknown | Seen::Running))
    }

    /// Entries with no answer that the contract knows.
    pub fn broken(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Broken(_)))
    }

    /// The slowest answer.
    pub fn slowest(&self) -> Duration {
        self.entries.iter().map(|entry| entry.took).max().unwrap_or_default()
    }

    fn count(&self, of: impl Fn(&Seen) -> bool) -> usize {
        self.entries.iter().filter(|entry| of(&entry.seen)).count()
    }

    /// When the last fault that was in force for a while was over.
    fn end(&self) -> Option<Duration> {
        let lasting = self.spans.iter().filter(|span| span.to > span.from);
        lasting.map(|span| span.to).max()
    }

    /// From the last fault's end to the first success answered after it: of a write, where there are any.
    fn recovered(&self) -> Option<Duration> {
        let end = self.end()?;
        let is_write = |entry: &&Entry| !READS.contains(&&*entry.function);
        let writes = self.entries.iter().any(|entry| is_write(&entry));
        self.entries
            .iter()
            .filter(|entry| !writes || is_write(entry))
            .filter(|entry| matches!(entry.seen, Seen::Served(_)) && entry.answered() >= end)
            .map(|entry| entry.answered() - end)
            .min()
    }

    /// `health` says "down" with a 503, which is the right answer to an outage and to nothing else.
    fn hold_health_against_the_faults(&mut self, late: Duration) {
        let met = |entry: &Entry| {
            self.spans
                .iter()
                .any(|span| entry.sent <= span.to + late && entry.answered() >= span.from)
        };
        let lies = self
            .entries
            .iter()
            .filter(|entry| entry.seen == Seen::Served(503) && !met(entry));
        let lies = lies.count();
        if lies > 0 {
            let text = format!("health said {lies} times that the database is down, and no fault was in force");
            self.verdict.wrong.push(text);
        }
    }

    fn hold_against(&mut self, expectation: Expectation, cuts: u64) {
        let (refused, broken, slowest) = (self.refused(), self.broken(), self.slowest());
        let (unknown, end) = (self.unknown(), self.end().unwrap_or_default());
        let wrong = &mut self.verdict.wrong;
        match expectation {
            Expectation::NothingRefused if refused + broken > 0 => {
                wrong.push(format!(
                    "{refused} requests were refused, {broken} broken: none was to be"
                ));
            }
            Expectation::SomethingRefused if refused + broken == 0 => {
                wrong.push("nothing was refused: the fault was not met".to_owned());
            }
            Expectation::SomethingUnknown if unknown == 0 => {
                wrong.push("no commit was unknown: the fault was not met".to_owned());
            }
            Expectation::Connections(wanted) if self.opened != wanted => {
                wrong.push(format!("{} connections were opened instead of {wanted}", self.opened));
            }
            Expectation::Cuts(wanted) if cuts != wanted => {
                wrong.push(format!("{cuts} COMMITs were cut instead of {wanted}"));
            }
            Expectation::Within(wanted) if slowest > wanted => {
                self.missed.push(format!(
                    "the slowest answer took {slowest:.2?}, and {wanted:.0?} was wanted"
                ));
            }
            Expectation::ColdWithin(wanted) if self.cold.is_none_or(|cold| cold > wanted) => {
                self.missed.push(format!(
                    "the slowest first answer took {:.2?}, and {wanted:.0?} was wanted",
                    self.cold
                ));
            }
            Expectation::RecoversWithin(wanted) => {
                if self.recovery.is_none_or(|recovery| recovery > wanted) {
                    self.missed.push(format!(
                        "recovered in {:.0?}, and {wanted:.0?} was wanted",
                        self.recovery
                    ));
                }
                let late = self.entries.iter().filter(|entry| entry.sent > end + wanted);
                let late = late.filter(|entry| !matches!(entry.seen, Seen::Served(_))).count();
                if late > 0 {
                    self.missed.push(format!(
                        "{late} requests were refused that were sent over {wanted:.0?} after the end"
                    ));
                }
            }
            Expectation::NothingRefused
            | Expectation::SomethingRefused
            | Expectation::SomethingUnknown
            | Expectation::Connections(_)
            | Expectation::Cuts(_)
            | Expectation::Within(_)
            | Expectation::ColdWithin(_) => {}
        }
    }
}

/// The clients, registered, with something to read each.
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
            // The function's environment, so that every round finds it warm.
            client.act(kind).await?;
            for _ in 0..rounds {
                if let Some(idle) = frozen {
                    rest(scene).await;
                    sleep(idle).await;
                }
                round(&scenario.strikes, scene, history, client, kind).await?;
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

async fn round(strikes: &[Strike], scene: &Scene, history: &History, client: &mut Client, kind: Kind) -> Result<()> {
    let mut struck = Vec::new();
    for fault in strikes.iter().flat_map(|strike| &strike.faults) {
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

/// Faults that were in force before the load began.
struct Begun(Option<(Strike, Duration, Vec<super::fault::Struck>)>);

impl Begun {
    /// Strikes what is to strike first, if that is before any answer.
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

    /// Sees the faults through, in their order.
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
