//! `cargo seer`: the commands with which operators and developers use Seer from a shell.
//!
//! Each command is a module, or a crate if others can use it; its output is for people. Invariants: contains nothing
//! that a function needs at run time. An error is one line, `error: …`, and exit code 1; wrong arguments are clap's, and
//! exit code 2. `doctor` and `use-shared-pool` have their own exit codes; `faults` ends with 130 if it is interrupted.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic if the reader has gone: use outln and errln"
)]

#[macro_use]
mod out;

mod bench;
mod budget;
mod build;
mod checkout;
mod faults;
mod group;
mod local;
mod machine;
mod migrate;
mod openapi;
mod person;
mod preflight;
mod product;
mod psql;
mod routes;
mod stop;
mod token;

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

/// The colours of the help, which are cargo's.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::BrightGreen.on_default().bold())
    .usage(AnsiColor::BrightGreen.on_default().bold())
    .literal(AnsiColor::BrightCyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs Seer's backend on this machine, and examines, migrates and tests databases and functions.
#[derive(Parser)]
#[command(name = "seer", bin_name = "cargo seer", version, styles = STYLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::Arguments),
    Budget(budget::Arguments),
    /// Prints the completions of `seer` for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    Doctor(DoctorArguments),
    Faults(faults::Arguments),
    Local(local::Arguments),
    /// Applies the pending migrations to the database that DATABASE_URL names; safe to repeat
    Migrate,
    Openapi(openapi::Arguments),
    Person(person::Arguments),
    Preflight(preflight::Arguments),
    Psql(psql::Arguments),
    Routes(routes::Arguments),
    Token(token::Arguments),
    UseSharedPool(use_shared_pool::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(&error));
    match run(arguments.command).await {
        Ok(code) => code,
        Err(error) => {
            errln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reports wrong arguments. A misplaced connection string is not repeated, because it contains a password.
fn refuse(error: &clap::Error) -> ! {
    let secret = |text: &&str| text.contains("://") || text.contains('@');
    let mut message = error.to_string();
    let mut hidden = false;
    for argument in std::env::args().skip(1) {
        let value = argument.split_once('=').map_or("", |(_, value)| value);
        for text in [argument.as_str(), value].iter().filter(|text| secret(text)) {
            hidden |= message.contains(text);
            message = message.replace(text, "…");
        }
    }
    if !hidden {
        error.exit();
    }
    let _ = write!(stderr(), "{message}");
    std::process::exit(error.exit_code())
}

/// Examines the database that DATABASE_URL names, and says what is wrong and what to do
///
/// Exit code: 0 healthy, 1 warnings, 2 failing, 3 cannot connect.
#[derive(Args)]
struct DoctorArguments {
    #[command(flatten)]
    arguments: doctor::Arguments,
    /// The database of `cargo local`, while that runs
    #[arg(long, conflicts_with_all = ["url", "secret_arn"])]
    local: bool,
}

async fn examine(DoctorArguments { arguments, local }: DoctorArguments) -> Result<()> {
    let arguments = match local {
        true => {
            let own = psql::Own::running(&product::checkout().await?.target)?;
            errln!(
                "The settings are compared with those of a server for deployments: differences are no problem here."
            );
            arguments.at(own.url())
        }
        false => arguments,
    };
    doctor::run(arguments, product::to_doctor(budget::of_the_fleet)).await
}

/// Prints the completions of `seer`, the name that this program has when it is installed.
fn complete(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command().bin_name("seer"), "seer", &mut script);
    outln!("{}", String::from_utf8_lossy(&script).trim_end());
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        // Its exit code also tells whether it was interrupted.
        Command::Bench(arguments) => return bench::run(arguments).await,
        Command::Budget(arguments) => budget::run(arguments).await?,
        Command::Completions { shell } => complete(shell),
        Command::Doctor(arguments) => examine(arguments).await?,
        // Its exit code also tells whether it was interrupted.
        Command::Faults(arguments) => return faults::run(arguments).await,
        Command::Local(arguments) => local::run(arguments).await?,
        Command::Migrate => migrate::run().await?,
        Command::Openapi(arguments) => openapi::run(&arguments).await?,
        Command::Person(arguments) => person::run(arguments).await?,
        Command::Preflight(arguments) => preflight::run(arguments).await?,
        Command::Psql(arguments) => return Err(psql::run(&arguments).await),
        Command::Routes(arguments) => routes::run(&arguments).await?,
        Command::Token(arguments) => token::run(&arguments).await?,
        // Its exit code tells more than success or failure.
        Command::UseSharedPool(arguments) => {
            return Ok(use_shared_pool::run(&arguments, async || Ok(product::checkout().await?.root)).await);
        }
    }
    Ok(ExitCode::SUCCESS)
}
