//! Builds the functions, as `cargo build` would, and finds their binaries.
//!
//! Depends on: cargo's JSON messages for the paths of the binaries, so that every way to configure the target folder
//! counts; cargo's own display of its progress on standard error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::checkout::cargo;
use crate::group::Group;

/// The path of each function's binary, by the function's name.
pub(crate) type Binaries = BTreeMap<String, PathBuf>;

/// Builds these functions of the checkout at `root`. Dropping the future stops cargo and its compilers.
///
/// # Errors
/// Fails if the build fails; cargo has shown why.
pub(crate) async fn build(root: &Path, functions: &BTreeSet<&str>) -> Result<Binaries> {
    let mut command = cargo();
    command
        // With this program's package, of which nothing is built: alone, the functions would have every dependency
        // compiled again with other features.
        .args(["build", "--locked", "--package", "cli", "--package", "functions"])
        .args(functions.iter().flat_map(|name| ["--bin", name]))
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stdout(Stdio::piped());
    let (building, group) = Group::spawn(&mut command).context("cannot run cargo")?;
    let built = building.wait_with_output().await.context("cannot run cargo")?;
    group.ended();
    if !built.status.success() {
        bail!("the functions do not build: see above");
    }
    Ok(String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(binary)
        .collect())
}

/// Returns the name and the path from a message about a binary.
fn binary(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.pointer("/target/name")?.as_str()?;
    Some((name.to_owned(), path.into()))
}
