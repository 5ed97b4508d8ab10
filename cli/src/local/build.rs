//! Builds the functions, as `cargo build` would, and finds their binaries.
//!
//! Cargo's messages are shown only when the build fails. Relies on cargo's JSON messages for where the binaries are,
//! so that every way to set the target folder counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::checkout::cargo;

/// The binary of each function, by the function's name.
pub(crate) type Binaries = BTreeMap<String, PathBuf>;

/// Builds these functions. Dropping the future stops cargo and its compilers.
///
/// # Errors
/// A build that fails, after its messages were shown.
pub(crate) async fn build(functions: &BTreeSet<&str>) -> Result<Binaries> {
    let mut command = cargo();
    command
        // Together with this very program, which is built already: alone, the functions would have every dependency
        // compiled again with other features.
        .args([
            "build",
            "--quiet",
            "--package",
            "cli",
            "--bin",
            "seer",
            "--package",
            "functions",
        ])
        .args(functions.iter().flat_map(|name| ["--bin", name]))
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, to be stopped with all its compilers.
        .process_group(0);
    if stderr().is_terminal() {
        command.args(["--color", "always"]);
    }
    let building = command.spawn().context("cannot run cargo")?;
    let group = Group(building.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let built = building.wait_with_output().await.context("cannot run cargo")?;
    group.ended();
    if !built.status.success() {
        let _ = stderr()
            .write_all(b"\n")
            .and_then(|()| stderr().write_all(&built.stderr));
        bail!("the functions do not build: see above");
    }
    Ok(String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(binary)
        .collect())
}

/// The name and the path in a message about a binary.
fn binary(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.pointer("/target/name")?.as_str()?;
    Some((name.to_owned(), path.into()))
}

/// Cargo's process group, interrupted when dropped.
struct Group(Option<Pid>);

impl Group {
    /// Cargo has ended, and its id may be another's by now.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails only when nothing is left to stop.
            let _ = kill_process_group(group, Signal::INT);
        }
    }
}
