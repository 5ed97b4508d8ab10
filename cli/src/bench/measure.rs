//! Runs the rounds: in each round every subject is invoked once, and each round starts with the next subject.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use local::lambda::{Environment, Invocation, Lambda, Outcome, Payload};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::subject::{Role, Subject};
use super::testbed::{CONCURRENCY, Operation, Setup, Testbed, name};

/// Longer than the pool reuses a connection without a ping.
const IDLE: Duration = Duration::from_millis(1_100);

/// Invocations before measuring starts: PostgreSQL settles on a plan after five executions.
const WARM_UP: usize = 12;

/// The measures, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    ReadFresh,
    ReadIdle,
    ReadFirst,
    WriteFresh,
    WriteIdle,
    WriteFirst,
    ReadFreshFar,
    ReadIdleFar,
    ReadFirstFar,
    WriteFreshFar,
    WriteIdleFar,
    WriteFirstFar,
    ColdTls,
    ThroughputOne,
    ThroughputMany,
    Memory,
    Size,
}

impl Measure {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::ReadFresh => "read, used just before",
            Self::ReadIdle => "read, idle for over 1 s",
            Self::ReadFirst => "read, first use after INIT",
            Self::WriteFresh => "write, used just before",
            Self::WriteIdle => "write, idle for over 1 s",
            Self::WriteFirst => "write, first use after INIT",
            Self::ReadFreshFar => "read at 1 ms each way",
            Self::ReadIdleFar => "read at 1 ms each way, idle",
            Self::ReadFirstFar => "read at 1 ms each way, first use",
            Self::WriteFreshFar => "write at 1 ms each way",
            Self::WriteIdleFar => "write at 1 ms each way, idle",
            Self::WriteFirstFar => "write at 1 ms each way, first use",
            Self::ColdTls => "cold start with TLS, to the first answer",
            Self::ThroughputOne => "reads a second, 1 at once",
            Self::ThroughputMany => "reads a second, 16 at once",
            Self::Memory => "memory after the warm reads (RSS)",
            Self::Size => "size of the binary",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::ThroughputOne | Self::ThroughputMany => "1/s",
            Self::Memory | Self::Size => "MB",
            Self::ReadFresh
            | Self::ReadIdle
            | Self::ReadFirst
            | Self::WriteFresh
            | Self::WriteIdle
            | Self::WriteFirst
            | Self::ReadFreshFar
            | Self::ReadIdleFar
            | Self::ReadFirstFar
            | Self::WriteFreshFar
            | Self::WriteIdleFar
            | Self::WriteFirstFar
            | Self::ColdTls => "ms",
        }
    }
}

/// The samples of each subject, keyed by measure and position in the list, in the measure's unit.
pub(super) type Samples = BTreeMap<(Measure, usize), Vec<f64>>;

/// The number of rounds for each measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    fresh: usize,
    far: usize,
    idle: usize,
    first: usize,
    /// Slices of throughput, each of [`Self::slice`].
    slices: usize,
    slice: Duration,
}

impl Rounds {
    pub(super) fn of(quick: bool) -> Self {
        let full = Self {
            fresh: 600,
            far: 150,
            idle: 20,
            first: 20,
            slices: 4,
            slice: Duration::from_millis(400),
        };
        match quick {
            true => Self {
                fresh: full.fresh / 10,
                far: full.far / 10,
                idle: 2,
                first: 3,
                slices: 1,
                ..full
            },
            false => full,
        }
    }
}

/// Measures everything. A peer that does not answer is left out of that measure, and `left_out` records the reason.
///
/// # Errors
/// Fails if the floor or one of the project's functions does not answer.
pub(super) async fn all(
    testbed: &Testbed,
    subjects: &[Subject],
    rounds: Rounds,
    left_out: &mut Vec<String>,
) -> Result<Samples> {
    let mut run = Run {
        testbed,
        subjects,
        samples: Samples::new(),
        left_out,
    };
    use Measure as M;
    use Operation::{Read, Write};
    errln!("warm");
    run.warm(M::ReadFresh, Read, Setup::Near, rounds.fresh).await?;
    run.memory()?;
    run.warm(M::WriteFresh, Write, Setup::Near, rounds.fresh).await?;
    run.warm(M::ReadFreshFar, Read, Setup::Far, rounds.far).await?;
    run.warm(M::WriteFreshFar, Write, Setup::Far, rounds.far).await?;
    errln!("idle");
    for round in 0..rounds.idle {
        sleep(IDLE).await;
        run.round(M::ReadIdle, Read, Setup::Near, round).await?;
        run.round(M::WriteIdle, Write, Setup::Near, round).await?;
        run.round(M::ReadIdleFar, Read, Setup::Far, round).await?;
        run.round(M::WriteIdleFar, Write, Setup::Far, round).await?;
    }
    errln!("throughput");
    run.throughput(rounds).await?;
    for subject in subjects {
        for (operation, setup) in [
            (Read, Setup::Near),
            (Write, Setup::Near),
            (Read, Setup::Far),
            (Write, Setup::Far),
        ] {
            testbed.lambda.destroy_all(&name(subject, operation, setup)).await;
        }
    }
    errln!("first use and cold start");
    for round in 0..rounds.first {
        run.round(M::ReadFirst, Read, Setup::Once, round).await?;
        run.round(M::WriteFirst, Write, Setup::Once, round).await?;
        run.round(M::ReadFirstFar, Read, Setup::OnceFar, round).await?;
        run.round(M::WriteFirstFar, Write, Setup::OnceFar, round).await?;
        run.round(M::ColdTls, Read, Setup::Tls, round).await?;
    }
    run.sizes()?;
    Ok(run.samples)
}

struct Run<'a> {
    testbed: &'a Testbed,
    subjects: &'a [Subject],
    samples: Samples,
    left_out: &'a mut Vec<String>,
}

impl Run<'_> {
    async fn warm(&mut self, measure: Measure, operation: Operation, setup: Setup, rounds: usize) -> Result<()> {
        for round in 0..WARM_UP + rounds {
            if round == WARM_UP {
                self.samples.retain(|(kept, _), _| *kept != measure);
            }
            self.round(measure, operation, setup, round).await?;
        }
        Ok(())
    }

    /// Invokes each subject once, starting with the next subject each time.
    async fn round(&mut self, measure: Measure, operation: Operation, setup: Setup, round: usize) -> Result<()> {
        for place in 0..self.subjects.len() {
            let place = (place + round) % self.subjects.len();
            let Some(subject) = self.subjects.get(place) else {
                continue;
            };
            if operation == Operation::Write && subject.write.is_none() || self.is_left_out(measure, subject) {
                continue;
            }
            match self.once(subject, operation, setup).await {
                Ok(took) => self.add(measure, place, took.as_secs_f64() * 1_000.0),
                Err(why) => self.leave_out(measure, subject, &why)?,
            }
        }
        Ok(())
    }

    /// Performs one invocation, timed as the setup requires.
    async fn once(&self, subject: &Subject, operation: Operation, setup: Setup) -> Result<Duration> {
        let lambda = &self.testbed.lambda;
        let (function, event) = (name(subject, operation, setup), self.event(operation));
        match setup {
            Setup::Near | Setup::Far | Setup::Wide => answered(&lambda.invoke(&function, event).await?),
            Setup::Once | Setup::OnceFar => {
                lambda.prepare(&function).await?;
                let took = answered(&lambda.invoke(&function, event).await?);
                lambda.destroy_all(&function).await;
                took
            }
            Setup::Tls => {
                // The time includes starting the process.
                let since = Instant::now();
                let invocation = lambda.invoke_cold(&function, event).await?;
                let took = since.elapsed();
                lambda.destroy_all(&function).await;
                answered(&invocation).map(|_| took)
            }
        }
    }

    /// Builds the event of a request; each write has its own idempotency key, as a client should send.
    fn event(&self, operation: Operation) -> Payload {
        match operation {
            Operation::Read => Payload::from(&self.testbed.read),
            Operation::Write => Payload::from(with_key(&self.testbed.write)),
        }
    }

    async fn throughput(&mut self, rounds: Rounds) -> Result<()> {
        let places = 0..self.subjects.len();
        for subject in self.subjects.iter().filter(|subject| subject.role != Role::Peer) {
            self.testbed
                .lambda
                .prepare(&name(subject, Operation::Read, Setup::Wide))
                .await?;
        }
        // The first slice is a warm-up for environments that serve sixteen requests at once.
        for slice in 0..=rounds.slices {
            for place in places.clone() {
                let Some(subject) = self.subjects.get(place) else {
                    continue;
                };
                let one = self.rate(subject, Setup::Near, 1, rounds.slice).await?;
                // Peers serve one request at a time, even if the environment allows more.
                let many = match subject.role {
                    Role::Floor | Role::Ours => Some(self.rate(subject, Setup::Wide, CONCURRENCY, rounds.slice).await?),
                    Role::Peer => None,
                };
                if slice > 0 {
                    self.add(Measure::ThroughputOne, place, one);
                    many.into_iter()
                        .for_each(|rate| self.add(Measure::ThroughputMany, place, rate));
                }
            }
        }
        Ok(())
    }

    /// Measures reads per second of one environment with `callers` that each send the next request after the answer.
    async fn rate(&self, subject: &Subject, setup: Setup, callers: u32, slice: Duration) -> Result<f64> {
        let function = name(subject, Operation::Read, setup);
        let since = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let (lambda, event) = (Arc::clone(&self.testbed.lambda), self.event(Operation::Read));
            running.spawn(calls(lambda, function.clone(), event, since + slice));
        }
        let mut reads: u32 = 0;
        while let Some(made) = running.join_next().await {
            reads += made??;
        }
        Ok(f64::from(reads) / since.elapsed().as_secs_f64())
    }

    /// Records the memory of each subject's warm environment.
    fn memory(&mut self) -> Result<()> {
        for (place, subject) in self.subjects.iter().enumerate() {
            let environments = self
                .testbed
                .lambda
                .environments(&name(subject, Operation::Read, Setup::Near));
            if let Some(environment) = environments.first() {
                self.add(Measure::Memory, place, resident_megabytes(environment)?);
            }
        }
        Ok(())
    }

    /// Records the size of each native program; scripts have none.
    fn sizes(&mut self) -> Result<()> {
        for (place, subject) in self.subjects.iter().enumerate() {
            let is_script = subject.read.extension().is_some_and(|extension| extension == "mjs");
            let bytes = std::fs::metadata(&subject.read)?.len();
            if !is_script {
                self.add(Measure::Size, place, megabytes(bytes / 1_000));
            }
        }
        Ok(())
    }

    fn add(&mut self, measure: Measure, place: usize, value: f64) {
        self.samples.entry((measure, place)).or_default().push(value);
    }

    fn leave_out(&mut self, measure: Measure, subject: &Subject, why: &anyhow::Error) -> Result<()> {
        if subject.role != Role::Peer {
            bail!("{} ({}): {why:#}", subject.name, measure.title());
        }
        self.left_out.push(format!("{}{why:#}", Self::mark(measure, subject)));
        Ok(())
    }

    fn is_left_out(&self, measure: Measure, subject: &Subject) -> bool {
        let mark = Self::mark(measure, subject);
        self.left_out.iter().any(|line| line.starts_with(&mark))
    }

    fn mark(measure: Measure, subject: &Subject) -> String {
        format!("{} ({}): ", subject.name, measure.title())
    }
}

async fn calls(lambda: Arc<Lambda>, function: String, event: Payload, end: Instant) -> Result<u32> {
    let mut made = 0;
    while Instant::now() < end {
        answered(&lambda.invoke(&function, event.clone()).await?)?;
        made += 1;
    }
    Ok(made)
}

/// Returns how long the invocation took.
///
/// # Errors
/// Fails for any status other than 2xx.
fn answered(invocation: &Invocation) -> Result<Duration> {
    let status = match &invocation.outcome {
        Outcome::Success(answer) => serde_json::from_slice::<Value>(answer)?["statusCode"].as_u64(),
        Outcome::FunctionError(report) | Outcome::InitFailed(report) => {
            bail!("failed: {:.200}", String::from_utf8_lossy(report))
        }
        Outcome::TimedOut | Outcome::Crashed(_) | Outcome::Throttled | Outcome::TooLarge => {
            bail!("ended as {:?}", invocation.outcome)
        }
    };
    match status {
        Some(200..=299) => Ok(invocation.duration),
        Some(_) | None => bail!("answered {:?}", invocation.outcome),
    }
}

fn with_key(event: &Value) -> Value {
    let mut event = event.clone();
    let key = format!("bench-{:?}", Instant::now());
    let key: String = key.chars().filter(|letter| letter.is_ascii_alphanumeric()).collect();
    event["headers"]["idempotency-key"] = json!(key);
    event
}

fn resident_megabytes(environment: &Environment) -> Result<f64> {
    let path = format!("/proc/{}/status", environment.pid());
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = resident
        .and_then(|size| size.trim().trim_end_matches(" kB").parse().ok())
        .context("no VmRSS")?;
    Ok(megabytes(kibibytes * 1_024 / 1_000))
}

fn megabytes(kilobytes: u64) -> f64 {
    f64::from(u32::try_from(kilobytes).unwrap_or(u32::MAX)) / 1_000.0
}
