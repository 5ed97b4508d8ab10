//! `cargo seer faults`: plays the fault catalogue against the functions' release binaries and reports what came of it.
//!
//! Everything is thrown away after, except the report in the target folder. Needs nothing but what `cargo local` needs.
//! A debug build of this program hands over to a release build of itself: what measures runs on the same processors as
//! what is measured.

mod peers;

use std::io::{Write as _, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use local::faults::{Ground, Line, Played, Scenario, Size, catalogue, for_peers, missing, page, play, table};

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
    /// Play the read faults against the designs of tests/peers, too, and nothing else
    #[arg(long)]
    peers: bool,
}

/// A scenario's name, and what came of it or why it was not played.
type Reported = (String, Result<Played, String>);

/// Plays what was asked for.
///
/// # Errors
/// A scenario that could not be played, or an answer or a row that breaks a promise.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let all = if arguments.peers {
        for_peers()
    } else {
        catalogue(Size::Full)
    };
    let names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
    let mut scenarios = all.clone();
    if !arguments.only.is_empty() {
        scenarios.retain(|scenario| arguments.only.iter().any(|only| scenario.name.contains(only.as_str())));
    }
    ensure!(
        !scenarios.is_empty(),
        "no scenario has such a name: there are {}",
        names.join(", ")
    );

    let checkout = Checkout::here().await?;
    if cfg!(debug_assertions) {
        build(&checkout, &["--package", "cli", "--bin", "seer"]).await?;
        let released = checkout.target.join("release/seer");
        // Comes back only when it fails.
        let error = std::process::Command::new(&released)
            .args(std::env::args_os().skip(1))
            .exec();
        return Err(error).with_context(|| format!("cannot run {}", released.display()));
    }
    build(&checkout, &["--package", "functions", "--bins"]).await?;
    let ours = Ground {
        binaries: checkout.target.join("release"),
        root: checkout.root.clone(),
        peer: None,
        path: None,
    };
    let mut reported: Vec<Reported> = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let label = format!("{}/{} {}", number + 1, scenarios.len(), scenario.name);
        let line = one(scenario, &ours, arguments.seed, label).await?;
        reported.push((scenario.name.to_owned(), line));
    }
    if arguments.peers {
        play_peers(&checkout, &ours, &scenarios, arguments.seed, &mut reported).await?;
    }
    report(&checkout, arguments.seed, &reported)
}

/// Plays one scenario with a line of progress.
async fn one(scenario: &Scenario, ground: &Ground, seed: u64, label: String) -> Result<Result<Played, String>> {
    if let Some(why) = missing(&scenario.stage) {
        return Ok(Err(why.to_owned()));
    }
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {elapsed}")?;
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(label.clone());
    let told = |answered| {
        bar.set_message(format!("{answered} answered"));
        bar.tick();
    };
    let played = play(scenario, ground, seed, told).await;
    bar.finish_and_clear();
    Ok(Ok(played.context(label)?))
}

async fn play_peers(
    checkout: &Checkout,
    ours: &Ground,
    scenarios: &[Scenario],
    seed: u64,
    reported: &mut Vec<Reported>,
) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "where programs are, not Seer's configuration")]
    let path = std::env::var("PATH").unwrap_or_default();
    for peer in peers::listed(checkout)? {
        let built = peer.build(checkout, &path).await;
        for scenario in scenarios {
            let name = format!("{}: {}", peer.name, scenario.name);
            let line = match &built {
                Ok(program) => {
                    let ground = Ground {
                        peer: Some(program.clone()),
                        path: Some(path.clone()),
                        ..ours.clone()
                    };
                    // A design without connections between invocations has none that a fault could strike.
                    let played = one(scenario, &ground, seed, name.clone()).await;
                    played.unwrap_or_else(|why| Err(format!("{why:#}")))
                }
                Err(why) => Err(format!("{why:#}")),
            };
            reported.push((name, line));
        }
    }
    Ok(())
}

/// Prints the table and writes the page.
fn report(checkout: &Checkout, seed: u64, reported: &[Reported]) -> Result<()> {
    let lines: Vec<Line<'_>> = reported
        .iter()
        .map(|(name, line)| (name.as_str(), line.as_ref().map_err(String::as_str)))
        .collect();
    let path = checkout.target.join("faults/report.html");
    write_page(&path, &page(&format!("Release binaries, seed {seed}."), &lines))?;
    let _ = writeln!(stdout(), "{}\nreport: {}", table(&lines), path.display());
    let played = lines.iter().filter_map(|(_, line)| line.as_ref().ok());
    let wrong: usize = played.map(|played| played.verdict.wrong.len()).sum();
    if wrong > 0 {
        bail!("{wrong} promises were broken");
    }
    Ok(())
}

fn write_page(path: &Path, html: &str) -> Result<()> {
    let folder = path.parent().context("the report has no folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, html))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Builds as for a deployment: those are the figures that count.
async fn build(checkout: &Checkout, what: &[&str]) -> Result<()> {
    let mut command = cargo();
    command
        .args(["build", "--release"])
        .args(what)
        .current_dir(&checkout.root)
        .kill_on_drop(true);
    let status = command.status().await.context("cannot run cargo")?;
    ensure!(status.success(), "it does not build: see above");
    Ok(())
}
