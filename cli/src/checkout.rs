//! The checkout the command runs in, and how to run cargo in it.
//!
//! Invariants: asks cargo, so that every way to configure the target folder counts; writes nothing.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// A checkout of Seer.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The folder of the workspace manifest.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Checkout {
    /// Finds the checkout around the working directory.
    ///
    /// # Errors
    /// Fails with one line if there is no cargo or no workspace.
    pub(crate) async fn here() -> Result<Self> {
        Self::around(&[]).await
    }

    /// Finds the checkout that cargo finds with these arguments.
    ///
    /// # Errors
    /// As [`Self::here`].
    pub(crate) async fn around(manifest: &[&str]) -> Result<Self> {
        let asked = cargo()
            .args(["metadata", "--no-deps", "--format-version=1"])
            .args(manifest)
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run cargo")?;
        let errors = String::from_utf8_lossy(&asked.stderr);
        ensure!(
            asked.status.success(),
            "run it inside a checkout of Seer: {}",
            errors.lines().last().unwrap_or_default().trim_start_matches("error: ")
        );
        let metadata: serde_json::Value =
            serde_json::from_slice(&asked.stdout).context("cannot read what cargo metadata says")?;
        let folder = |name: &str| {
            let path = metadata.get(name).and_then(serde_json::Value::as_str);
            path.map(PathBuf::from)
                .with_context(|| format!("cargo metadata names no {name}"))
        };
        let checkout = Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
        };
        ensure!(
            checkout.root.join("functions/migrations").is_dir(),
            "run it inside a checkout of Seer: {} is another workspace",
            checkout.root.display()
        );
        Ok(checkout)
    }
}

/// Returns cargo as the user's shell would run it. Variables that `cargo run` set for this process are removed:
/// otherwise build scripts that read them would run again, and everything that depends on them.
pub(crate) fn cargo() -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo's own variable, not Seer's configuration"
    )]
    let itself = std::env::var_os("CARGO");
    let mut command = Command::new(itself.unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let set_by_cargo = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        });
        if set_by_cargo {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}
