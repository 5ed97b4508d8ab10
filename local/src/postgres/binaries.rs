//! PostgreSQL's programs: found on this machine, else fetched once.
//!
//! Invariants: installs nothing, and uses no version that is too old for Seer or that the servers' account cannot
//! reach.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::account::Account;
use super::fetch;
use super::program::{has_programs, run};
use super::variables::variable;

/// The oldest release that PostgreSQL still maintains, as of PostgreSQL 18.
const OLDEST: u32 = 14;
/// A version query is answered in milliseconds, unless the disk is cold.
const ANSWER: Duration = Duration::from_secs(20);

/// A folder with `postgres` and `initdb` in it, of a supported version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
    major: u32,
}

impl Binaries {
    /// Finds PostgreSQL, in this order: `$PG_BIN`; the folder that `pg_config --bindir` prints; the newest
    /// `/usr/lib/postgresql/*/bin`; the cache folder; and if there is none, fetches it into the cache folder with
    /// `python3 -m pip`. Searches once per process. If everything fails, the error is one sentence that says what to
    /// install.
    pub async fn find() -> Result<Binaries> {
        static FOUND: OnceCell<Binaries> = OnceCell::const_new();
        FOUND.get_or_try_init(Binaries::look).await.cloned()
    }

    async fn look() -> Result<Binaries> {
        let account = Account::of_servers()?;
        if let Some(folder) = variable("PG_BIN") {
            return Binaries::at(Path::new(&folder), account)
                .await
                .context("PG_BIN names no usable PostgreSQL");
        }
        for folder in installed().await {
            // One that is too old or broken must not prevent the use of a good one.
            if let Ok(binaries) = Binaries::at(&folder, account).await {
                return Ok(binaries);
            }
        }
        let folder = fetch::fetched(account).await?;
        Binaries::at(&folder, account)
            .await
            .map_err(|cause| anyhow!("{} ({cause:#})", fetch::INSTALL))
    }

    /// Returns the programs in `folder`, if `account` can run them and they are not too old.
    async fn at(folder: &Path, account: Account) -> Result<Binaries> {
        ensure!(
            has_programs(folder),
            "{} has no `postgres` and `initdb` in it",
            folder.display()
        );
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot enter {}", folder.display()))?;
        ensure!(
            account.enters(&folder),
            "PostgreSQL refuses to run as root, and the account it is lent to cannot enter {}: move it out of the private folder",
            folder.display()
        );
        // Both, because they need different libraries.
        let mut said = String::new();
        for program in ["initdb", "postgres"] {
            let mut command = account.command(&folder.join(program));
            command.arg("--version");
            said = run(command, None, ANSWER).await?;
        }
        let version = said.trim().trim_start_matches("postgres (PostgreSQL) ").to_owned();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        let major = digits
            .parse()
            .with_context(|| format!("cannot tell PostgreSQL's version from {said:?}"))?;
        ensure!(
            major >= OLDEST,
            "PostgreSQL {version} is too old: Seer needs {OLDEST} or newer"
        );
        Ok(Binaries { folder, version, major })
    }

    /// Returns the folder of the programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the version as `postgres --version` prints it, for example `18.6`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the major version, for example 18.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Returns the program's path. Only `postgres` and `initdb` are known to exist.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns an identifier of these programs: data that one build created may be unreadable for another build of the
    /// same version.
    pub(super) fn key(&self) -> String {
        key(&[self.version.as_bytes(), self.folder.as_os_str().as_encoded_bytes()])
    }
}

/// Returns sixteen hexadecimal digits that identify `parts`.
pub(super) fn key(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Returns folders where an installed PostgreSQL may be, the preferred one first.
async fn installed() -> Vec<PathBuf> {
    let mut asked = Command::new("pg_config");
    asked.arg("--bindir");
    let told = run(asked, None, ANSWER)
        .await
        .ok()
        .map(|folder| PathBuf::from(folder.trim()));
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    told.into_iter()
        .chain(versions.into_iter().map(|(_, folder)| folder))
        .filter(|folder| has_programs(folder))
        .collect()
}
