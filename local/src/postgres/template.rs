//! New data folders: created by `initdb` once, then copied.
//!
//! `initdb` takes seconds of processor time, a copy a tenth of one. A template is in the cache folder under the name of
//! the build that created it, belongs to this process's account and is never started.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::account::Account;
use super::binaries::Binaries;
use super::guard::Guard;
use super::places;
use super::program::run;
use super::settings::HOST_BASED_AUTHENTICATION;

/// The superuser's name and the first database's.
pub(super) const SEER: &str = "seer";
/// `initdb` takes a second; a loaded machine with a slow disk can take a hundred times that.
const INITDB: Duration = Duration::from_secs(180);
/// The version of the template's format, so that an older one in the cache is ignored.
const FORM: u32 = 1;

/// A folder with `data` and the superuser's `password` in it.
#[derive(Debug)]
pub(super) struct Template(PathBuf);

impl Template {
    /// Returns the template of these binaries, and creates it if it does not exist. Safe in concurrent tasks and
    /// processes: one creates it, the others wait.
    pub(super) async fn of(binaries: &Binaries, account: Account) -> Result<Template> {
        let cache = places::cache(account)?;
        let name = format!("postgres-template-{FORM}-{}-{}", binaries.major(), binaries.key());
        let place = cache.join(&name);
        if place.exists() {
            return Ok(Template(place));
        }
        let Some(_held) = places::lock(&cache.join(format!("{name}.lock")), INITDB).await? else {
            bail!(
                "another process has been making {} for {} s",
                place.display(),
                INITDB.as_secs()
            )
        };
        if place.exists() {
            return Ok(Template(place));
        }
        let scratch = places::throwaway(account)?;
        let _guard = Guard::over("KILL", Some(scratch.path()))?;
        initialise(binaries, account, scratch.path(), Durability::None).await?;
        let new = tempfile::Builder::new()
            .prefix("postgres-template-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&cache)
            .with_context(|| format!("cannot write to {}", cache.display()))?;
        let to = new.path().to_path_buf();
        tokio::task::spawn_blocking(move || {
            copy(&scratch.path().join("data"), &to.join("data"), Account::Own)?;
            copy(&scratch.path().join("password"), &to.join("password"), Account::Own)
        })
        .await??;
        std::fs::rename(new.path(), &place).with_context(|| format!("cannot make {}", place.display()))?;
        let _ = new.keep();
        Ok(Template(place))
    }

    /// Copies the template's data and password into `folder`, for `account`. Blocks the thread.
    pub(super) fn copy_to(&self, folder: &Path, account: Account) -> Result<()> {
        copy(&self.0.join("password"), &folder.join("password"), Account::Own)?;
        copy(&self.0.join("data"), &folder.join("data"), account)
    }
}

/// Whether the output of `initdb` must be flushed to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    None,
    Full,
}

/// Creates `data` and `password` in `folder`: the superuser `seer` with a password of its own, the database `seer`.
pub(super) async fn initialise(binaries: &Binaries, account: Account, folder: &Path, kept: Durability) -> Result<()> {
    let (data, password) = (folder.join("data"), folder.join("password"));
    std::fs::write(&password, uuid::Uuid::new_v4().simple().to_string())
        .and_then(|()| std::fs::set_permissions(&password, Permissions::from_mode(0o600)))
        .with_context(|| format!("cannot write {}", password.display()))?;
    account.own(&password)?;

    let mut initdb = account.command(&binaries.program("initdb"));
    initdb.args([
        "--username",
        SEER,
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--no-instructions",
    ]);
    if binaries.major() >= 17 {
        // Correct upper and lower case beyond ASCII, regardless of the machine's locales.
        initdb.args(["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]);
    }
    match kept {
        Durability::None => initdb.arg("--no-sync"),
        Durability::Full => &mut initdb,
    };
    initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
    run(initdb, None, INITDB).await?;

    let authentication = data.join("pg_hba.conf");
    std::fs::write(&authentication, HOST_BASED_AUTHENTICATION)
        .with_context(|| format!("cannot write {}", authentication.display()))?;

    let mut single = account.command(&binaries.program("postgres"));
    single.args(["--single", "-j", "-D"]).arg(&data);
    match kept {
        Durability::None => single.args(["-c", "fsync=off"]),
        Durability::Full => &mut single,
    };
    single.arg("postgres");
    run(single, Some(&format!("CREATE DATABASE {SEER};\n\n")), INITDB)
        .await
        .map(drop)
}

/// Copies a file or a folder recursively, keeps permissions, and gives the copy to `account`.
pub(super) fn copy(from: &Path, to: &Path, account: Account) -> Result<()> {
    let found = from
        .symlink_metadata()
        .with_context(|| format!("cannot read {}", from.display()))?;
    let failed = || format!("cannot copy {} to {}", from.display(), to.display());
    if found.is_symlink() {
        return symlink(from.read_link()?, to).with_context(failed);
    }
    if found.is_dir() {
        DirBuilder::new().mode(found.mode()).create(to).with_context(failed)?;
        for entry in std::fs::read_dir(from).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name();
            copy(&from.join(&name), &to.join(&name), account)?;
        }
    } else {
        std::fs::copy(from, to).with_context(failed)?;
    }
    account.own(to)
}
