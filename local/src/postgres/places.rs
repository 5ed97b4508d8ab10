//! Locations on this machine: the cache folder, and the folder for throwaway clusters.
//!
//! Invariants: writes nothing outside these two, and the second is empty again when its clusters are gone. The account
//! that runs the servers must be able to reach both, so root may get other folders than a user.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::variables::variable;

/// Memory is used only if a few clusters with their write-ahead log fit in (bytes).
const ROOM_FOR_CLUSTERS: u64 = 1 << 30;

/// Returns the folder that is kept between runs: `$XDG_CACHE_HOME/seer`, else `~/.cache/seer`; for root, if servers
/// cannot enter that, the system's cache folder; and if none of them is writable, one in the folder for temporary
/// files.
pub(super) fn cache(account: Account) -> Result<PathBuf> {
    let home = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")));
    let system = match account {
        Account::Own => None,
        Account::Lent { .. } if cfg!(target_os = "macos") => Some(PathBuf::from("/Library/Caches")),
        Account::Lent { .. } => Some(PathBuf::from("/var/cache")),
    };
    let owner = rustix::process::geteuid().as_raw();
    let named = home
        .into_iter()
        .chain(system)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("seer"));
    let last = std::env::temp_dir().join(format!("seer-cache-{owner}"));
    for folder in named.chain([last]) {
        let there = folder.ancestors().find(|above| above.exists());
        if !there.is_some_and(|there| account.enters(there)) {
            continue;
        }
        let new = !folder.exists();
        let made = DirBuilder::new().recursive(true).create(&folder).is_ok();
        if made && new {
            // Regardless of the umask: another account may have to enter.
            let _ = std::fs::set_permissions(&folder, Permissions::from_mode(0o755));
        }
        let ours = folder
            .symlink_metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == owner);
        if made && ours && may_write(&folder) && account.enters(&folder) {
            return Ok(folder);
        }
    }
    bail!("no folder to cache PostgreSQL's files in: set XDG_CACHE_HOME to one that can be written")
}

fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Creates a folder for one throwaway cluster, in memory if there is room. Removed when dropped.
pub(super) fn throwaway(account: Account) -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let roots = [
        Some(memory).filter(|memory| has_room(memory)).map(Path::to_path_buf),
        Some(std::env::temp_dir()),
        Some("/tmp".into()),
    ];
    for root in roots.into_iter().flatten() {
        if !(may_write(&root) && account.enters(&root)) {
            continue;
        }
        let folder = tempfile::Builder::new()
            .prefix("seer-postgres-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&root)
            .with_context(|| format!("cannot make a folder in {}", root.display()))?;
        account.own(folder.path())?;
        return Ok(folder);
    }
    bail!("no folder for a throwaway PostgreSQL: set TMPDIR to one that every account can enter")
}

fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= ROOM_FOR_CLUSTERS)
}

/// A lock between tasks and processes, held until this is dropped or its process is gone.
#[derive(Debug)]
pub(super) struct FileLock(File);

impl Drop for FileLock {
    /// Not left to closing the file, because a child that is just being forked may have it open for a moment longer.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Acquires the lock file `path` until the result is dropped; waits at most `bound` for another process or task that
/// holds it. Returns `None` if it is still held then. Dropping the future stops waiting.
pub(super) async fn lock(path: &Path, bound: Duration) -> Result<Option<FileLock>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let end = Instant::now() + bound;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(FileLock(file))),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(20)).await,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lock_passes_to_the_next_waiter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path, Duration::ZERO).await.unwrap().unwrap();
        assert!(lock(&path, Duration::ZERO).await.unwrap().is_none());
        let next = tokio::spawn(async move { lock(&path, Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        drop(held);
        assert!(next.await.unwrap().unwrap().is_some());
    }
}
