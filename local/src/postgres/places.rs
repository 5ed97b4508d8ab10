//! Where things lie on this machine: the cache folder, and the folder for throwaway clusters.
//!
//! Nothing is written outside these two, and the second is empty again when its clusters are gone. Both must be
//! reachable by the account that runs the servers, which is why root may get others than a user would.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::account::Account;

/// Memory is only worth it when a few clusters with their write-ahead log fit in (bytes).
const ROOM_FOR_CLUSTERS: u64 = 1 << 30;

/// The folder that is kept between runs: `$XDG_CACHE_HOME/seer`, else `~/.cache/seer`; for root, when servers cannot
/// enter that, the system's cache folder; and when none of them can be written, one in the folder for temporary files.
pub(super) fn cache(account: Account) -> Result<PathBuf> {
    let home = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
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
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder);
        let inside = folder.join("x");
        let ours = folder
            .symlink_metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == owner);
        if made.is_ok() && ours && may_write(&folder) && enters(account, &inside) {
            return Ok(folder);
        }
    }
    bail!("no folder to cache PostgreSQL's files in: set XDG_CACHE_HOME to one that can be written")
}

fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Like [`Account::reaches`], for a path that does not exist yet in a folder that does.
fn enters(account: Account, inside: &Path) -> bool {
    let Some(folder) = inside.parent() else {
        return false;
    };
    account.reaches(&folder.join("."))
        && match account {
            Account::Own => true,
            Account::Lent { .. } => folder
                .metadata()
                .is_ok_and(|found| found.mode() & 0o001 != 0),
        }
}

/// A new folder for one throwaway cluster, in memory when there is room. Removed when dropped.
pub(super) fn throwaway(account: Account) -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let roots = [
        Some(memory)
            .filter(|memory| has_room(memory))
            .map(Path::to_path_buf),
        Some(std::env::temp_dir()),
        Some("/tmp".into()),
    ];
    for root in roots.into_iter().flatten() {
        if !(may_write(&root) && enters(account, &root.join("x"))) {
            continue;
        }
        let folder = tempfile::Builder::new()
            .prefix("seer-postgres-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(&root)
            .with_context(|| format!("cannot make a folder in {}", root.display()))?;
        account.own(folder.path())?;
        return Ok(folder);
    }
    bail!("no folder for a throwaway PostgreSQL: set TMPDIR to one that every account can enter")
}

fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= ROOM_FOR_CLUSTERS)
}

/// A lock that other tasks and processes respect, until this is dropped or its process is gone.
#[derive(Debug)]
pub(super) struct Held(File);

impl Drop for Held {
    /// Not left to closing the file: a child that is just being forked may have it open for a moment longer.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Holds the lock file `path` until the answer is dropped; another process or task that holds it is waited for, for
/// `bound` at most. `None` when it is still held then. Dropping the future gives up waiting.
pub(super) async fn lock(path: &Path, bound: Duration) -> Result<Option<Held>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let end = Instant::now() + bound;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Held(file))),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(20)).await,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}
