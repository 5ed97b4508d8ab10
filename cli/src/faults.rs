//! `cargo seer faults`: plays the fault catalogue against the functions' release binaries and reports what came of it.
//!
//! Everything is thrown away after, except the report in the target folder. Needs nothing but what `cargo local` needs.

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use local::faults::{Ground, Played, Scenario, Size, catalogue, missing, play, table};

use crate::checkout::{Checkout, cargo};

/// Plays the fault catalogue and reports what clients saw and what the database holds.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only the scenarios whose name contains this; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// What chance begins from: the same seed asks the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Few requests and short outages, as in `cargo test`
    #[arg(long)]
    small: bool,
}

/// Plays what was asked for.
///
/// # Errors
/// A scenario that could not be played, or an answer or a row that breaks a promise.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let size = if arguments.small { Size::Small } else { Size::Full };
    let wanted = |scenario: &Scenario| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| scenario.name.contains(only.as_str()))
    };
    let scenarios: Vec<Scenario> = catalogue(size).into_iter().filter(wanted).collect();
    ensure!(!scenarios.is_empty(), "no scenario has such a name: {}", names(size));
    let checkout = Checkout::here().await?;
    let ground = Ground {
        binaries: build(&checkout).await?,
        root: checkout.root.clone(),
        peer: None,
    };

    let mut lines: Vec<(&str, Result<Played, &str>)> = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        if let Some(why) = missing(&scenario.stage) {
            lines.push((scenario.name, Err(why)));
            continue;
        }
        let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {prefix} {msg}")?);
        bar.set_prefix(format!("{}/{} {}", number + 1, scenarios.len(), scenario.name));
        let told = |answered| {
            bar.set_message(format!("{answered} answered"));
            bar.tick();
        };
        let played = play(scenario, &ground, arguments.seed, told).await;
        bar.finish_and_clear();
        lines.push((scenario.name, Ok(played.with_context(|| scenario.name.to_owned())?)));
    }

    let shown: Vec<_> = lines
        .iter()
        .map(|(name, line)| (*name, line.as_ref().map_err(|why| *why)))
        .collect();
    let _ = write!(stdout(), "{}", table(&shown));
    let wrong = lines
        .iter()
        .filter_map(|(_, line)| line.as_ref().ok())
        .map(|played| played.verdict.wrong.len());
    let wrong: usize = wrong.sum();
    if wrong > 0 {
        bail!("{wrong} promises were broken");
    }
    Ok(())
}

fn names(size: Size) -> String {
    let names: Vec<_> = catalogue(size).iter().map(|scenario| scenario.name).collect();
    names.join(", ")
}

/// The functions as they are deployed: their figures are the ones that count.
async fn build(checkout: &Checkout) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["build", "--release", "--package", "functions", "--bins"])
        .current_dir(&checkout.root)
        .kill_on_drop(true);
    let status = command.status().await.context("cannot run cargo")?;
    ensure!(status.success(), "the functions do not build: see above");
    Ok(Path::new(&checkout.target).join("release"))
}
