//! Simulates ten thousand environments: the functions' own pool, one per environment, against a server with 100 slots.
//! All arrive within ten seconds, connect as INIT does, read once and stay.
//!
//! They share [`PROCESSES`] processes: this program, started again. In one process they would wait for each other,
//! because connects take turns to find the driver's socket (`shared::db`'s `tuned`), and because the driver gives the
//! thread up 800 times while it computes a log-in's key.
//!
//! Clients and server share the processors, unlike in production, so the clients' share of the processor time is
//! reported.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use local::postgres::{Cluster, Settings};
use serde::Serialize;
use sqlx::{Connection as _, Executor as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::report::{percentile, table};
use super::share::{Ended, PROCESSES, Share, milliseconds};
use super::testbed::{ROLE, connect, prepare};
use super::write;
use crate::checkout::Checkout;
use crate::machine::Machine;

/// Numbers of environments that arrive.
const ENVIRONMENTS: [u32; 3] = [100, 1_000, 10_000];

/// Slots that ordinary roles can use.
const SLOTS: u16 = 100;

/// `superuser_reserved_connections`, PostgreSQL's default.
const RESERVED: u16 = 3;

/// How long the log-in rate is measured.
const RATE: Duration = Duration::from_secs(4);

/// Time for the processes to start.
const START: Duration = Duration::from_secs(3);

/// Time for the server to write its log.
const SETTLE: Duration = Duration::from_millis(500);

/// The clock ticks of `/proc` per second: 100 on every Linux.
const TICKS: f64 = 100.0;

#[derive(Serialize)]
struct Report {
    machine: Machine,
    limit: Limit,
    bursts: Vec<Burst>,
}

/// The server's limits on this machine, measured before the bursts.
#[derive(Clone, Copy, Debug, Serialize)]
struct Limit {
    /// The time from connecting to disconnecting with one read in between: the median of sequential connections.
    held_ms: f64,
    /// Slots divided by the time held: reads per second if log-ins cost no processor time.
    slots_a_second: f64,
    /// Log-ins per second with four concurrent clients.
    log_ins_a_second: f64,
    /// Processor time that a log-in costs on the client alone.
    client_ms: f64,
}

/// The result of one burst.
#[derive(Debug, Default, Serialize)]
struct Burst {
    environments: u32,
    answered: u32,
    /// Connections that the server accepted.
    connections: usize,
    /// Log-ins that succeeded.
    log_ins: usize,
    /// Log-ins that were started and not finished, because the client gave up first.
    cut: usize,
    /// Log-ins, including cut ones, that led to no answer.
    wasted: usize,
    /// Connections refused before the log-in because no slot was free.
    refused: usize,
    median_s: f64,
    slowest_s: f64,
    /// Seconds from the first arrival to the last answer.
    lasted_s: f64,
    /// This process's share of the processor time in that period.
    client_share: f64,
    /// The most common error, if any.
    error: Option<String>,
}

/// Measures the server's limit and the bursts, prints a table and writes `storm.json`.
///
/// # Errors
/// Fails if the server cannot be started or a file cannot be written. A burst without answers is a result, not an
/// error.
pub(super) async fn run(checkout: &Checkout, quick: bool, out: &Path) -> Result<()> {
    let settings = Settings {
        max_connections: SLOTS + RESERVED,
        parameters: vec![("log_connections".to_owned(), "on".to_owned())],
        ..Settings::default()
    };
    let cluster = Cluster::throwaway(settings).await?;
    let password = prepare(&cluster).await?;
    let url = format!(
        "postgres://{ROLE}:{password}@127.0.0.1:{}/seer?sslmode=disable",
        cluster.port()
    );
    let machine = Machine::here(Some(checkout)).await?;
    let limit = limit(&url).await?;
    let mut bursts = Vec::new();
    for environments in ENVIRONMENTS
        .into_iter()
        .take(if quick { 2 } else { ENVIRONMENTS.len() })
    {
        errln!("{environments} environments");
        bursts.push(burst(&cluster, &url, environments).await?);
    }
    let report = Report { machine, limit, bursts };
    let _ = writeln!(stdout(), "{}", markdown(&report));
    write(out, "storm.json", &serde_json::to_string_pretty(&report)?)
}

async fn burst(cluster: &Cluster, url: &str, environments: u32) -> Result<Burst> {
    let before = log(cluster)?.len();
    let worked = children_seconds();
    // Time for the processes to start.
    let since = SystemTime::now() + START;
    let share = |process| Share {
        url: url.to_owned(),
        since: milliseconds(since),
        process,
        environments,
    };
    let mut processes = Vec::new();
    for process in 0..PROCESSES {
        processes.push(start(&share(process)).await?);
    }
    let (mut waits, mut errors, mut last, mut span) = (Vec::new(), Vec::new(), 0.0_f64, 0.0_f64);
    let mut answers = Vec::new();
    for process in &mut processes {
        let output = process.stdout.as_mut().context("a process has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        answers.extend(serde_json::from_str::<Vec<Ended>>(&line).context("a process ended early")?);
    }
    // The environments stay until each has its answer or its error.
    for mut process in processes {
        drop(process.stdin.take());
        process.wait().await?;
    }
    for Ended { at, answered } in answers {
        span = span.max(at);
        match answered {
            Ok(wait) => {
                waits.push(wait);
                last = last.max(at);
            }
            Err(why) => errors.push(why),
        }
    }
    let worked = children_seconds() - worked;
    sleep(SETTLE).await;
    let written = log(cluster)?;
    let written = written.get(before..).unwrap_or_default();
    let count = |words: &str| written.matches(words).count();
    let answered = u32::try_from(waits.len())?;
    let connections = count("connection received: ");
    let log_ins = count("connection authorized: user=bench");
    let refused = count("too many clients already");
    let cut = connections.saturating_sub(log_ins + refused);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Burst {
        environments,
        answered,
        connections,
        log_ins,
        cut,
        wasted: (log_ins + cut).saturating_sub(waits.len()),
        refused,
        median_s: percentile(&waits, 50),
        slowest_s: percentile(&waits, 100),
        lasted_s: last,
        client_share: worked / (span * f64::from(u32::try_from(cores)?)),
        error: most_common(errors),
    })
}

/// Starts a process for a share of a burst.
async fn start(share: &Share) -> Result<Child> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(["bench", "--storm-share"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let input = process.stdin.as_mut().context("a process has no input")?;
    input
        .write_all(format!("{}\n", serde_json::to_string(share)?).as_bytes())
        .await?;
    Ok(process)
}

/// Measures with plain connections what the server can do.
async fn limit(url: &str) -> Result<Limit> {
    errln!("the server's limit");
    let mut held = Vec::new();
    for _ in 0..40 {
        let since = Instant::now();
        log_in_and_read(url).await?;
        held.push(since.elapsed().as_secs_f64() * 1_000.0);
    }
    let held_ms = percentile(&held, 50);
    let (since, worked) = (Instant::now(), processor_seconds());
    let mut running = JoinSet::new();
    for _ in 0..4 {
        let url = url.to_owned();
        running.spawn(async move {
            let mut made: u32 = 0;
            while since.elapsed() < RATE {
                log_in_and_read(&url).await?;
                made += 1;
            }
            anyhow::Ok(made)
        });
    }
    let mut log_ins: u32 = 0;
    while let Some(made) = running.join_next().await {
        log_ins += made??;
    }
    Ok(Limit {
        held_ms,
        slots_a_second: f64::from(SLOTS) * 1_000.0 / held_ms,
        log_ins_a_second: f64::from(log_ins) / since.elapsed().as_secs_f64(),
        client_ms: (processor_seconds() - worked) * 1_000.0 / f64::from(log_ins),
    })
}

async fn log_in_and_read(url: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    connection.execute(sqlx::raw_sql("SELECT count(*) FROM users")).await?;
    connection.close().await.context("cannot close")
}

fn markdown(report: &Report) -> String {
    let header = [
        "environments",
        "answered",
        "log-ins",
        "cut short",
        "wasted",
        "refused",
        "median",
        "slowest",
        "last answer",
        "clients' CPU",
    ];
    let mut rows = table(header.map(str::to_owned).to_vec());
    for burst in &report.bursts {
        rows.add_row([
            burst.environments.to_string(),
            burst.answered.to_string(),
            burst.log_ins.to_string(),
            burst.cut.to_string(),
            burst.wasted.to_string(),
            burst.refused.to_string(),
            format!("{:.2} s", burst.median_s),
            format!("{:.2} s", burst.slowest_s),
            format!("{:.1} s", burst.lasted_s),
            format!("{:.0} %", burst.client_share * 100.0),
        ]);
    }
    let limit = report.limit;
    let mut text = format!(
        "{}\n\nThe server's limit: {SLOTS} slots ÷ {:.1} ms held = {:.0} a second; {:.0} log-ins a second with the clients on \
         the same processors, of which a client takes {:.1} ms each.\n\n{rows}\n",
        report.machine.line(),
        limit.held_ms,
        limit.slots_a_second,
        limit.log_ins_a_second,
        limit.client_ms,
    );
    for burst in &report.bursts {
        if let Some(error) = &burst.error {
            text.push_str(&format!(
                "\n{} environments, most common error: {error}",
                burst.environments
            ));
        }
    }
    text
}

fn most_common(mut errors: Vec<String>) -> Option<String> {
    errors.sort();
    let runs = errors.chunk_by(|one, next| one == next);
    runs.max_by_key(|run| run.len())
        .and_then(|run| Some(format!("{} × {:.300}", run.len(), run.first()?)))
}

fn log(cluster: &Cluster) -> Result<String> {
    std::fs::read_to_string(cluster.log()).context("cannot read the server's log")
}

/// Returns the processor time of this process so far, in user and system mode.
fn processor_seconds() -> f64 {
    ticks(11)
}

/// Returns the processor time of this process's ended children so far.
fn children_seconds() -> f64 {
    ticks(13)
}

/// Returns the sum of two fields of `/proc/self/stat`. The fields after the name, which is in parentheses: those of this
/// process are the 12th and 13th, and those of its children the next two.
fn ticks(skip: usize) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields
        .skip(skip)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    ticks / TICKS
}
