//! `cargo queries`: updates `functions/.sqlx`, the compiler's offline data about the schema, from the migrations and
//! the queries; `cargo queries --check` compares and changes nothing.
//!
//! A separate binary, built without `functions`: it has to run while `functions` does not compile because exactly that
//! data is stale or missing. It compiles `functions` against a throwaway PostgreSQL with the migrations applied, in a
//! separate target folder, where the macros write the server's descriptions.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic if the reader has gone: use outln and errln"
)]

#[macro_use]
mod out;

mod checkout;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use checkout::{Checkout, cargo};
use clap::Parser;
use local::postgres::{Cluster, Settings};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

/// Updates the committed query data in functions/.sqlx from the migrations and the queries.
#[derive(Parser)]
#[command(bin_name = "cargo queries")]
struct Arguments {
    /// Change nothing: name what differs, and fail if anything does
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The contents of the files, by name.
type Data = BTreeMap<String, String>;

async fn run(arguments: &Arguments) -> Result<()> {
    let checkout = Checkout::here().await?;
    errln!("compiling functions against a throwaway PostgreSQL: some minutes the first time");
    let cluster = Cluster::throwaway(Settings::default()).await?;
    migrate(&cluster.url(), &checkout.root).await?;

    let folder = checkout.root.join("functions/.sqlx");
    let (committed, current) = (read(&folder)?, describe(&checkout, &cluster).await?);
    let names: BTreeSet<&String> = committed.keys().chain(current.keys()).collect();
    let different: Vec<&String> = names
        .into_iter()
        .filter(|name| parsed(committed.get(*name)) != parsed(current.get(*name)))
        .collect();
    if different.is_empty() {
        outln!("functions/.sqlx is up to date: {} queries", current.len());
        return Ok(());
    }
    for name in &different {
        let (state, text) = match (committed.get(*name), current.get(*name)) {
            (text, None) => ("unused", text),
            (None, text) => ("missing", text),
            (Some(_), text) => ("changed", text),
        };
        outln!("{state}: functions/.sqlx/{name}: {}", opening(text));
        if !arguments.check {
            write(&folder.join(name), current.get(*name))?;
        }
    }
    if arguments.check {
        bail!(
            "functions/.sqlx does not fit the migrated schema ({} files): run `cargo queries` and commit it",
            different.len()
        );
    }
    outln!(
        "functions/.sqlx brought up to date: {} queries, {} files changed",
        current.len(),
        different.len()
    );
    Ok(())
}

async fn migrate(url: &str, root: &Path) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a throwaway cluster of this process")]
    let mut connection = PgConnection::connect(url)
        .await
        .context("cannot connect to the throwaway PostgreSQL")?;
    faults::migrations(root)
        .await?
        .run_direct(None, &mut connection, false)
        .await
        .context("the migrations do not apply")?;
    Ok(())
}

/// Returns the server's description of each query of `functions`.
async fn describe(checkout: &Checkout, cluster: &Cluster) -> Result<Data> {
    let target = checkout.target.join("queries");
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let folder = tempfile::tempdir_in(&target).context("cannot make a folder for the query data")?;
    // The macros run only when the crate is compiled; its dependencies are kept.
    for arguments in [
        &["clean", "--quiet", "--package", "functions"][..],
        &["check", "--locked", "--quiet", "--package", "functions", "--lib"],
    ] {
        let mut command = cargo();
        command
            .args(arguments)
            .arg("--target-dir")
            .arg(&target)
            .current_dir(&checkout.root)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", folder.path())
            .env("DATABASE_URL", cluster.url())
            .kill_on_drop(true);
        let status = command.status().await.context("cannot run cargo")?;
        ensure!(
            status.success(),
            "functions does not compile against the migrated schema: see above"
        );
    }
    let data = read(folder.path())?;
    ensure!(
        !data.is_empty(),
        "no query was described: is another `cargo queries` running? Run it again"
    );
    Ok(data)
}

fn read(folder: &Path) -> Result<Data> {
    let mut data = Data::new();
    if !folder.exists() {
        return Ok(data);
    }
    let failed = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        data.insert(name, text);
    }
    Ok(data)
}

fn write(path: &Path, text: Option<&String>) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let Some(text) = text else {
        return fs::remove_file(path).with_context(failed);
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, text).with_context(failed)
}

/// Parses the content, so that its layout does not matter. A damaged file equals no other, and is written again.
fn parsed(text: Option<&String>) -> Option<Value> {
    text.map(|text| serde_json::from_str(text).unwrap_or_default())
}

/// Returns the beginning of the query, to identify it.
fn opening(text: Option<&String>) -> String {
    let data = parsed(text).unwrap_or_default();
    let sql = data.get("query").and_then(Value::as_str).unwrap_or_default();
    let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(60).collect()
}
