//! The folder of a cluster: its data, its log and its superuser's password.
//!
//! A throwaway home is removed when it is dropped. A durable one stays, and is held by one process at a time.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::account::Account;
use super::binaries::{Binaries, key};
use super::places::{self, FileLock};
use super::template::{Durability, initialise};

#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Throwaway { _removed: TempDir },
    Durable { _lock: FileLock },
}

impl Home {
    pub(super) fn throwaway(account: Account) -> Result<Home> {
        let folder = places::throwaway(account)?;
        Ok(Home {
            folder: folder.path().to_path_buf(),
            kind: Kind::Throwaway { _removed: folder },
        })
    }

    /// Returns the durable home at the path `named` by the caller. If the servers' account cannot enter that folder
    /// (root's clone in a private folder), the home is in the cache folder, and `named` is a link to it: without the
    /// link its content is stale, as if `named` had been removed.
    pub(super) async fn durable(named: &Path, account: Account) -> Result<Home> {
        let named = std::path::absolute(named)?;
        let above = named.parent().context("the root folder is no place for a cluster")?;
        std::fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
        if named.symlink_metadata().is_err() && !account.enters(above) {
            let place =
                places::cache(account)?.join(format!("postgres-{}", key(&[named.as_os_str().as_encoded_bytes()])));
            if place.exists() {
                Home::remove(&place).await?;
            }
            make(&place, account)?;
            symlink(&place, &named).with_context(|| format!("cannot make the link {}", named.display()))?;
        }
        make(&named, account)?;
        let folder = named
            .canonicalize()
            .with_context(|| format!("cannot enter {}", named.display()))?;
        let lock = acquire(&folder).await?;
        Ok(Home {
            folder,
            kind: Kind::Durable { _lock: lock },
        })
    }

    /// Removes the durable home `named`, unless a process holds it. Succeeds if there is none.
    pub(super) async fn remove(named: &Path) -> Result<()> {
        let Ok(found) = named.symlink_metadata() else {
            return Ok(());
        };
        if let Ok(folder) = named.canonicalize() {
            let _lock = acquire(&folder).await?;
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        if found.is_symlink() {
            std::fs::remove_file(named).with_context(|| format!("cannot remove {}", named.display()))?;
        }
        Ok(())
    }

    /// Creates a durable cluster's data if there is none, and checks that these binaries can read existing data.
    pub(super) async fn prepare(&self, binaries: &Binaries, account: Account) -> Result<()> {
        let data = self.data();
        if !data.exists() {
            // Created beside it and moved, so that `data` is always complete.
            let new = self.folder.join("new");
            if new.exists() {
                std::fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
            }
            std::fs::create_dir(&new).with_context(|| format!("cannot make {}", new.display()))?;
            account.own(&new)?;
            initialise(binaries, account, &new, Durability::Full).await?;
            std::fs::rename(new.join("password"), self.folder.join("password"))?;
            std::fs::rename(new.join("data"), &data)?;
            std::fs::remove_dir(&new)?;
        }
        // Keeps one run's log beside the previous one, so that it does not grow without limit.
        let _ = std::fs::rename(self.log(), self.folder.join("log.before"));
        let version = std::fs::read_to_string(data.join("PG_VERSION"))
            .with_context(|| format!("{} holds no PostgreSQL data", data.display()))?;
        ensure!(
            version.trim() == binaries.major().to_string(),
            "{} was made by PostgreSQL {}, but {} was found: remove it, or set PG_BIN to the folder of PostgreSQL {}",
            data.display(),
            version.trim(),
            binaries.version(),
            version.trim()
        );
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns the folder that the guard has to remove when this process is gone.
    pub(super) fn to_remove(&self) -> Option<&Path> {
        match self.kind {
            Kind::Throwaway { .. } => Some(&self.folder),
            Kind::Durable { .. } => None,
        }
    }

    pub(super) fn password(&self) -> Result<String> {
        let file = self.folder.join("password");
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }
}

fn make(folder: &Path, account: Account) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    account.own(folder)
}

async fn acquire(folder: &Path) -> Result<FileLock> {
    let lock = folder.join("lock");
    let Some(held) = places::lock(&lock, Duration::ZERO).await? else {
        bail!(
            "another process is using the PostgreSQL in {}: stop it first, such as `cargo local` in another terminal",
            folder.display()
        )
    };
    Ok(held)
}
