//! `cargo seer faults`: plays the fault catalogue against the functions' release binaries, or against any other function,
//! and reports the results.
//!
//! Everything except the report is deleted afterwards; Ctrl-C or SIGTERM ends the run in order, with a report of the
//! scenarios played so far. Depends on: the same programs as `cargo local`. A debug build of this program re-executes
//! itself as a release build, because the measuring program shares the processors with the measured ones; it does not
//! for `--quick` or another function, where the verdict matters more than the figures.

pub(crate) mod peers;

use std::io::{Write as _, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use faults::{AnyFunction, Artifacts, FUNCTIONS, Line, Played, Scenario, Size};
use faults::{catalogue, chart, for_peers, missing, page, play, table};
use indicatif::{ProgressBar, ProgressStyle};

use crate::build;
use crate::checkout::{Checkout, cargo};
use crate::group::Group;
use crate::machine::Machine;
use crate::product;
use crate::stop::Stop;

/// The exit code that a shell expects of a command that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// The scenarios of `--quick`: one of a frozen environment, one of the server, one of a lost reply.
const QUICK: [&str; 3] = ["hung-while-frozen", "restarted", "write-cut"];

/// Plays the fault catalogue and reports what clients saw and what the database holds.
///
/// It builds itself and the functions that it plays with optimisation first: some 10 to 20 minutes the first time. With
/// --quick it takes the binaries of `cargo local`, and plays three scenarios within half a minute.
#[derive(Args)]
pub(crate) struct Arguments {
    /// List the scenarios, and play none
    #[arg(long)]
    list: bool,
    /// Play three scenarios, or those of --only, with debug binaries and a small load: the verdict counts, the times do not
    #[arg(long, conflicts_with = "peers")]
    quick: bool,
    /// Play only the scenarios whose name contains this; can be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The random seed: the same seed sends the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play only the read faults, and against the designs of tests/peers too
    #[arg(long)]
    peers: bool,
    /// Another function instead: a program that implements the Lambda Runtime API and reads DATABASE_URL
    #[arg(long, value_name = "PROGRAM", requires = "event", conflicts_with = "peers")]
    function: Option<PathBuf>,
    /// Events for that function, as JSON files
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "function")]
    event: Vec<PathBuf>,
    /// SQL to run before it starts
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "function")]
    schema: Vec<PathBuf>,
    /// How to count its writes, as a TOML file; see docs/reliability/your-function.md
    #[arg(long, value_name = "FILE", requires = "function")]
    contract: Option<PathBuf>,
}

/// The results so far.
#[derive(Default)]
struct Reported {
    /// Each scenario's name, and its result or the reason why it was not played.
    lines: Vec<(String, Result<Played, String>)>,
    /// Scenarios of this project's functions that should have been played and could not be.
    failed: usize,
    /// Failed checks, except those of peers, which guarantee nothing.
    wrong: usize,
}

/// Why a scenario has no result.
enum NotPlayed {
    /// A program that this machine does not have.
    Missing(&'static str),
    /// The setup failed, or a fault could not be injected.
    Failed(anyhow::Error),
}

impl From<NotPlayed> for String {
    fn from(why: NotPlayed) -> Self {
        match why {
            NotPlayed::Missing(what) => what.to_owned(),
            NotPlayed::Failed(error) => format!("{error:#}"),
        }
    }
}

/// Plays the requested scenarios.
///
/// # Errors
/// Fails if no scenario has the name, a scenario could not be played, or an answer or a row violates a guarantee.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(program) = &arguments.function {
        return another(program, &arguments).await;
    }
    let all = match (arguments.peers, arguments.quick) {
        (true, _) => for_peers(),
        (false, true) => catalogue(Size::Small),
        (false, false) => catalogue(Size::Full),
    };
    let scenarios = chosen(all, &arguments)?;
    if arguments.list {
        return Ok(list(&scenarios));
    }
    let checkout = product::checkout().await?;
    let mut stop = Stop::listen()?;
    if arguments.quick {
        return quick(&scenarios, &checkout, arguments.seed, stop).await;
    }
    if cfg!(debug_assertions) {
        errln!("building this program and the functions, optimised: some 10 to 20 minutes the first time");
        if !build(&checkout, &["--package", "cli", "--bin", "seer"], &mut stop).await? {
            return Ok(interrupted("nothing was played"));
        }
        return Err(rerun_released(&checkout));
    }
    errln!("building the functions, optimised");
    let binaries = FUNCTIONS.iter().flat_map(|name| ["--bin", name]);
    let functions: Vec<_> = ["--package", "functions"].into_iter().chain(binaries).collect();
    if !build(&checkout, &functions, &mut stop).await? {
        return Ok(interrupted("nothing was played"));
    }
    let ours = Artifacts::Product {
        binaries: checkout.target.join("release"),
        root: checkout.root.clone(),
    };
    let about = format!(
        "Release binaries, seed {}; {}.",
        arguments.seed,
        Machine::here(Some(&checkout)).await?.line()
    );
    let mut reported = Reported::default();
    let played = async {
        play_all(&scenarios, &ours, arguments.seed, &mut reported).await;
        match arguments.peers {
            true => play_peers(&checkout, &scenarios, arguments.seed, &mut reported).await,
            false => Ok(()),
        }
    };
    let asked = until_stopped(played, &mut stop).await?;
    finish(report(&page_of(&checkout), &about, &reported), asked)
}

/// Prints each scenario's name and description.
fn list(scenarios: &[Scenario]) -> ExitCode {
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max();
    let width = width.unwrap_or_default();
    for Scenario { name, about, .. } in scenarios {
        outln!("{name:<width$}  {about}");
    }
    ExitCode::SUCCESS
}

/// Plays the requested scenarios with the binaries that `cargo local` uses.
async fn quick(scenarios: &[Scenario], checkout: &Checkout, seed: u64, mut stop: Stop) -> Result<ExitCode> {
    errln!("building the functions, as for `cargo local`: some minutes the first time");
    let functions = FUNCTIONS.into();
    let built = tokio::select! {
        built = build::build(&checkout.root, &functions) => built?,
        () = stop.asked() => return Ok(interrupted("nothing was played")),
    };
    let folder = built.values().find_map(|binary| binary.parent());
    let artifacts = Artifacts::Product {
        binaries: folder.context("there are no functions")?.to_owned(),
        root: checkout.root.clone(),
    };
    let about = format!(
        "A quick run: DEBUG binaries and a small load, so that its times say little. Seed {seed}; {}.",
        Machine::here(Some(checkout)).await?.line()
    );
    play_and_report(scenarios, &artifacts, seed, (&page_of(checkout), &about), &mut stop).await
}

/// Plays the scenarios, and writes the page and the table, headed by `about`, also if it is asked to stop.
async fn play_and_report(
    scenarios: &[Scenario],
    artifacts: &Artifacts,
    seed: u64,
    (path, about): (&Path, &str),
    stop: &mut Stop,
) -> Result<ExitCode> {
    let mut reported = Reported::default();
    let played = async {
        play_all(scenarios, artifacts, seed, &mut reported).await;
        Ok(())
    };
    let asked = until_stopped(played, stop).await?;
    finish(report(path, about, &reported), asked)
}

/// Plays the requested scenarios against another function.
async fn another(program: &Path, arguments: &Arguments) -> Result<ExitCode> {
    let function = AnyFunction::read(
        program,
        &arguments.event,
        &arguments.schema,
        arguments.contract.as_deref(),
    )?;
    let size = if arguments.quick { Size::Small } else { Size::Full };
    let scenarios = chosen(function.scenarios(size), arguments)?;
    if arguments.list {
        return Ok(list(&scenarios));
    }
    let checkout = Checkout::here().await.ok();
    let path = checkout.as_ref().map_or_else(|| "faults-report.html".into(), page_of);
    let mut stop = Stop::listen()?;
    // Without the commit, which is that of this project and not of the function.
    let machine = Machine::here(None).await?.line();
    let quick = if arguments.quick {
        "A quick run with a small load: "
    } else {
        ""
    };
    let about = format!("{quick}{}, seed {}; {machine}.", program.display(), arguments.seed);
    let artifacts = Artifacts::Function(function);
    play_and_report(&scenarios, &artifacts, arguments.seed, (&path, &about), &mut stop).await
}

/// Returns the path of the page.
fn page_of(checkout: &Checkout) -> PathBuf {
    checkout.target.join("faults/report.html")
}

/// Returns whether it was asked to stop before the end.
async fn until_stopped(played: impl Future<Output = Result<()>>, stop: &mut Stop) -> Result<bool> {
    tokio::select! {
        played = played => played.map(|()| false),
        () = stop.asked() => Ok(true),
    }
}

fn finish(kept: Result<()>, asked: bool) -> Result<ExitCode> {
    if asked {
        return Ok(interrupted("this is what was played until then"));
    }
    kept.map(|()| ExitCode::SUCCESS)
}

/// Replaces this process with the release build of itself, with the same arguments. Returns only if that fails.
pub(crate) fn rerun_released(checkout: &Checkout) -> anyhow::Error {
    let released = checkout.target.join("release/seer");
    let error = std::process::Command::new(&released)
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context(format!("cannot run {}", released.display()))
}

/// Returns the exit code after Ctrl-C or SIGTERM.
fn interrupted(what: &str) -> ExitCode {
    errln!("interrupted: {what}");
    ExitCode::from(INTERRUPTED)
}

/// Returns the requested scenarios.
fn chosen(mut all: Vec<Scenario>, arguments: &Arguments) -> Result<Vec<Scenario>> {
    let asked = &arguments.only;
    for only in asked {
        let names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
        ensure!(
            names.iter().any(|name| name.contains(only.as_str())),
            "no scenario has {only:?} in its name: there are {}",
            names.join(", ")
        );
    }
    if !asked.is_empty() {
        all.retain(|scenario| asked.iter().any(|only| scenario.name.contains(only.as_str())));
    } else if arguments.quick {
        all.retain(|scenario| QUICK.contains(&scenario.name));
    }
    Ok(all)
}

/// Plays one scenario after the other. A scenario that cannot be played does not prevent the others.
async fn play_all(scenarios: &[Scenario], artifacts: &Artifacts, seed: u64, reported: &mut Reported) {
    for (number, scenario) in scenarios.iter().enumerate() {
        let label = format!("{}/{} {}", number + 1, scenarios.len(), scenario.name);
        let line = one(scenario, artifacts, seed, label).await;
        reported.failed += usize::from(matches!(line, Err(NotPlayed::Failed(_))));
        reported.wrong += line.as_ref().map_or(0, |played| played.verdict.wrong.len());
        reported
            .lines
            .push((scenario.name.to_owned(), line.map_err(String::from)));
    }
}

/// Plays one scenario with a progress line.
async fn one(scenario: &Scenario, artifacts: &Artifacts, seed: u64, label: String) -> Result<Played, NotPlayed> {
    if let Some(why) = missing(&scenario.setup) {
        return Err(NotPlayed::Missing(why));
    }
    // The template is a constant without mistakes.
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(label);
    let told = |answered| {
        bar.set_message(format!("{answered} answered"));
        bar.tick();
    };
    let played = play(scenario, artifacts, seed, told).await;
    bar.finish_and_clear();
    played.map_err(NotPlayed::Failed)
}

/// Plays the scenarios against other designs, as any function with a read.
async fn play_peers(checkout: &Checkout, scenarios: &[Scenario], seed: u64, reported: &mut Reported) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "where programs are, not Seer's configuration")]
    let path = std::env::var("PATH").unwrap_or_default();
    let event = checkout.root.join("tests/events/meetings-get.json");
    for peer in peers::listed(checkout)? {
        let built = peer.build(checkout, &path).await;
        let events = std::slice::from_ref(&event);
        let built = built.and_then(|program| AnyFunction::read(&program, events, &[], None));
        for scenario in scenarios {
            let name = format!("{}: {}", peer.name, scenario.name);
            let line = match &built {
                Ok(function) => {
                    let artifacts = Artifacts::Function(function.clone());
                    one(scenario, &artifacts, seed, name.clone())
                        .await
                        .map_err(String::from)
                }
                Err(why) => Err(format!("{why:#}")),
            };
            reported.lines.push((name, line));
        }
    }
    Ok(())
}

/// Prints the table, and writes the page and beside it a picture of each scenario.
fn report(path: &Path, about: &str, reported: &Reported) -> Result<()> {
    let lines: Vec<Line<'_>> = reported
        .lines
        .iter()
        .map(|(name, line)| (name.as_str(), line.as_ref().map_err(String::as_str)))
        .collect();
    write(path, &page(about, &lines))?;
    for (name, line) in &lines {
        if let Ok(played) = line {
            // The name of a peer's has a colon.
            write(
                &path.with_file_name(format!("{}.svg", name.replace(": ", "-"))),
                &chart(about, played),
            )?;
        }
    }
    let _ = writeln!(stdout(), "{}\nreport: {}", table(about, &lines), path.display());
    match (reported.wrong, reported.failed) {
        (0, 0) => Ok(()),
        (0, failed) => bail!("scenarios that could not be played: {failed}"),
        (wrong, _) => bail!("promises that were broken: {wrong}"),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("the report has no folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Builds for release, as for a deployment, because those are the figures that count. Returns whether it finished: if
/// asked to stop, it stops cargo and its compilers.
pub(crate) async fn build(checkout: &Checkout, what: &[&str], stop: &mut Stop) -> Result<bool> {
    let mut command = cargo();
    command
        .args(["build", "--locked", "--release"])
        .args(what)
        .current_dir(&checkout.root);
    let (mut building, group) = Group::spawn(&mut command).context("cannot run cargo")?;
    let status = tokio::select! {
        status = building.wait() => status.context("cannot run cargo")?,
        () = stop.asked() => return Ok(false),
    };
    group.ended();
    ensure!(status.success(), "it does not build: see above");
    Ok(true)
}
