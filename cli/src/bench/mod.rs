//! `cargo seer bench`: measures the functions' release binaries, a floor and the designs of `tests/peers`.
//!
//! Invariants: the designs take turns, one invocation each, so that noise of the machine affects all of them equally;
//! every ratio is relative to the floor of the same run; nothing is asserted, because times depend on the machine.
//! Depends on: `local` for PostgreSQL, the execution environments and the delaying proxy. A debug build of this program
//! re-executes itself as a release build, as `faults` does.

mod chart;
mod measure;
mod report;
mod share;
mod storm;
mod subject;
mod testbed;

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::checkout::Checkout;
use crate::faults::{INTERRUPTED, build, rerun_released};
use crate::machine::Machine;
use crate::stop::Stop;
use measure::Rounds;
use report::Report;

/// Measures the functions beside a floor and the designs people use today.
///
/// It builds everything with optimisation first: some 10 to 20 minutes the first time. A run takes about three minutes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A tenth of the rounds: for a first look
    #[arg(long)]
    quick: bool,
    /// Measure a burst of 100 to 10,000 new environments on a server with 100 slots, and nothing else
    #[arg(long)]
    storm: bool,
    /// Be one of the processes of a burst
    #[arg(long, hide = true)]
    storm_share: bool,
    /// Where the JSON and the chart are written [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Measures, prints Markdown tables, and writes `bench.json` and `bench.svg`, or `storm.json`.
///
/// # Errors
/// Fails if a build fails, the floor or one of the project's functions does not answer, or a file cannot be written.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.storm_share {
        return share::run().await.map(|()| ExitCode::SUCCESS);
    }
    let checkout = Checkout::here().await?;
    let mut stop = Stop::listen()?;
    if cfg!(debug_assertions) {
        errln!("building this program, optimised: some 10 to 20 minutes the first time");
        if !build(&checkout, &["--package", "cli", "--bin", "seer"], &mut stop).await? {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        return Err(rerun_released(&checkout));
    }
    let out = arguments.out.clone().unwrap_or_else(|| checkout.target.join("bench"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    if !arguments.storm {
        let functions = [
            "--package",
            "functions",
            "--bin",
            subject::READ,
            "--bin",
            subject::WRITE,
        ];
        errln!("building the functions, optimised");
        if !build(&checkout, &functions, &mut stop).await? {
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let measured = async {
        match arguments.storm {
            true => storm::run(&checkout, arguments.quick, &out).await,
            false => compare(&checkout, arguments.quick, &out).await,
        }
    };
    tokio::select! {
        measured = measured => measured.map(|()| ExitCode::SUCCESS),
        () = stop.asked() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn compare(checkout: &Checkout, quick: bool, out: &Path) -> Result<()> {
    let (subjects, mut left_out) = subject::all(checkout).await?;
    let testbed = testbed::Testbed::start(checkout, &subjects).await?;
    let machine = Machine::here(Some(checkout)).await?;
    let samples = measure::all(&testbed, &subjects, Rounds::of(quick), &mut left_out).await?;
    let report = Report::new(machine, quick, &subjects, &samples, left_out);
    let chart = chart::svg(&report);
    let _ = writeln!(stdout(), "{}", report.markdown());
    write(out, "bench.json", &serde_json::to_string_pretty(&report)?)?;
    write(out, "bench.svg", &chart)
}

/// Writes a result file and prints its path.
fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, format!("{}\n", text.trim_end()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let _ = writeln!(stdout(), "{}", path.display());
    Ok(())
}
