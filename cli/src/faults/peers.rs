//! Builds the designs of `tests/peers/peers.toml`, so that they run under the same faults as this project's functions.
//!
//! A design whose programs are not installed, or that does not build, is left out with a message.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use crate::checkout::{Checkout, cargo};
use crate::group::Group;

/// One design.
#[derive(Debug, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    needs: Vec<String>,
    build: Vec<Vec<String>>,
    executable: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct File {
    peer: Vec<Peer>,
    floor: Peer,
}

/// Returns the folder of the list and the designs.
fn folder(checkout: &Checkout) -> PathBuf {
    checkout.root.join("tests/peers")
}

/// Returns every design of the list.
///
/// # Errors
/// Fails if the list is missing or cannot be read.
pub(crate) fn listed(checkout: &Checkout) -> Result<Vec<Peer>> {
    Ok(file(checkout)?.peer)
}

/// Returns the floor of `cargo seer bench`, which is not a design.
///
/// # Errors
/// Fails if the list is missing or cannot be read.
pub(crate) fn floor(checkout: &Checkout) -> Result<Peer> {
    Ok(file(checkout)?.floor)
}

fn file(checkout: &Checkout) -> Result<File> {
    let path = folder(checkout).join("peers.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

impl Peer {
    /// Builds the design and returns its program.
    ///
    /// # Errors
    /// Fails with the missing program, or with the command that failed.
    pub(crate) async fn build(&self, checkout: &Checkout, path: &str) -> Result<PathBuf> {
        let is_there = |program: &String| std::env::split_paths(path).any(|folder| folder.join(program).is_file());
        if let Some(program) = self.needs.iter().find(|program| !is_there(program)) {
            bail!("{program} is not installed");
        }
        let folder = folder(checkout);
        for command in &self.build {
            run(command, &folder).await?;
        }
        let executable = self.executable.first().context("it names no executable")?;
        let executable = folder.join(executable);
        executable
            .canonicalize()
            .with_context(|| format!("there is no {}", executable.display()))
    }
}

async fn run(words: &[String], folder: &Path) -> Result<()> {
    let (program, arguments) = words.split_first().context("an empty build command")?;
    let mut command = if program == "cargo" {
        cargo()
    } else {
        Command::new(program)
    };
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let failed = || format!("cannot run {program}");
    let (running, group) = Group::spawn(&mut command).with_context(failed)?;
    let output = running.wait_with_output().await.with_context(failed)?;
    group.ended();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}",
            words.join(" "),
            errors.lines().last().unwrap_or_default()
        );
    }
    Ok(())
}
