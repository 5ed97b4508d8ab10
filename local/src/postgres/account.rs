//! The account that PostgreSQL's programs run as: this process's own, or another one if this process runs as root.
//!
//! PostgreSQL refuses to run as root, so root's clusters run as `postgres`, else as `nobody`. Invariants: never changes
//! the permissions of files that this module did not create. Depends on: `id` (POSIX) for the system's accounts.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use super::variables::variable;

/// The owner of a cluster's files and of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// This process's own account.
    Own,
    /// An unprivileged account, because this process runs as root.
    Lent { uid: u32, gid: u32 },
}

impl Account {
    /// Returns the account for this process's clusters.
    pub(super) fn of_servers() -> Result<Account> {
        static FOUND: OnceLock<Account> = OnceLock::new();
        if let Some(account) = FOUND.get() {
            return Ok(*account);
        }
        let account = if rustix::process::geteuid().is_root() {
            Account::unprivileged()?
        } else {
            Account::Own
        };
        Ok(*FOUND.get_or_init(|| account))
    }

    fn unprivileged() -> Result<Account> {
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", name), id("-g", name))
                && uid != 0
            {
                return Ok(Account::Lent { uid, gid });
            }
        }
        bail!(
            "PostgreSQL refuses to run as root and this system has neither an account `postgres` nor `nobody`: add one, or run as another user"
        )
    }

    /// Returns a command that runs `program` as this account, in an environment in which the caller's `PG…` or locale
    /// variables cannot change its behaviour or the language of its messages.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .current_dir("/");
        for kept in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            if let Some(value) = variable(kept) {
                command.env(kept, value);
            }
        }
        match self {
            Account::Own => {}
            Account::Lent { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
        command
    }

    /// Changes the owner of a file or folder that this process created to the account.
    pub(super) fn own(self, path: &Path) -> Result<()> {
        match self {
            Account::Own => Ok(()),
            Account::Lent { uid, gid } => chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to uid {uid}", path.display())),
        }
    }

    /// Returns whether the account can enter `folder`, by the permission bits of it and of every folder above it.
    pub(super) fn enters(self, folder: &Path) -> bool {
        let Account::Lent { uid, gid } = self else {
            return true;
        };
        let Ok(folder) = folder.canonicalize() else {
            return false;
        };
        folder.ancestors().all(|folder| {
            folder.metadata().is_ok_and(|found| {
                let search = match (found.uid() == uid, found.gid() == gid) {
                    (true, _) => 0o100,
                    (false, true) => 0o010,
                    (false, false) => 0o001,
                };
                found.mode() & search != 0
            })
        })
    }
}

fn id(flag: &str, name: &str) -> Option<u32> {
    let output = Command::new("id")
        .args([flag, name])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn private_folder_blocks_its_subtree() {
        let stranger = Account::Lent {
            uid: 4_000_000,
            gid: 4_000_000,
        };
        let above = tempfile::tempdir().unwrap();
        let below = above.path().join("open");
        create_dir(&below).unwrap();
        set_permissions(&below, Permissions::from_mode(0o755)).unwrap();
        for (mode, entered) in [(0o755, true), (0o711, true), (0o750, false), (0o700, false)] {
            set_permissions(above.path(), Permissions::from_mode(mode)).unwrap();
            for folder in [above.path(), &below] {
                assert_eq!(stranger.enters(folder), entered, "{mode:o}");
                assert!(Account::Own.enters(folder), "{mode:o}");
            }
        }
    }
}
