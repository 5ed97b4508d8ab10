//! PgBouncer in front of a cluster, pooling by transaction.
//!
//! A machine can have two programs: the installed one, and a newer one that `.ci/pgbouncer` builds into `target/tools`.
//! From 1.21 on, PgBouncer keeps prepared statements: a client's named statement follows it from one server connection
//! to the next.
//!
//! Invariants: installs nothing: without the program there is no pooler. The guard ends it if this process is killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::cluster::Cluster;
use super::guard::Guard;
use super::home::Home;
use super::log::LOOK_AGAIN;
use super::places;
use super::port::{Port, Wanted};
use super::variables::variable;

/// Debian installs it outside an ordinary account's PATH.
const ALSO_IN: &str = "/usr/sbin";
/// Where `.ci/pgbouncer` installs the program it builds.
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/pgbouncer/bin");
/// The first release that keeps prepared statements.
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);
/// Statements that it keeps per server connection.
const STATEMENTS: u32 = 200;
const READY: Duration = Duration::from_secs(10);

/// A running PgBouncer. Dropping it ends it at once, with every connection through it.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    port: Port,
    _guard: Guard,
    _home: Home,
}

impl Pooler {
    /// Returns the program, the installed one before a newer one that was built; `None` if there is neither.
    pub fn find() -> Option<PathBuf> {
        programs().next()
    }

    /// Returns the program if one is 1.21 or newer.
    pub fn find_with_prepared_statements() -> Option<PathBuf> {
        programs().find(|program| keeps_statements(program))
    }

    /// Starts one in front of `cluster` for one user, with `size` connections to the server. It does not keep prepared
    /// statements, regardless of its version, because that of Debian 12 cannot.
    ///
    /// # Errors
    /// Fails if there is no program, or it does not become ready.
    pub async fn start(cluster: &Cluster, user: &str, password: &str, size: u16) -> Result<Self> {
        let program = Self::find().context("pgbouncer is not installed")?;
        // An older program would reject a setting that it does not know.
        let statements = keeps_statements(&program).then_some(0);
        Self::start_program(&program, statements, cluster, user, password, size).await
    }

    /// Starts one that keeps prepared statements.
    ///
    /// # Errors
    /// As [`Pooler::start`]; also fails if there is only an older program.
    pub async fn start_with_prepared_statements(
        cluster: &Cluster,
        user: &str,
        password: &str,
        size: u16,
    ) -> Result<Self> {
        let program = Self::find_with_prepared_statements();
        let program = program.context("there is no pgbouncer 1.21 or newer: `bash .ci/pgbouncer` builds one")?;
        Self::start_program(&program, Some(STATEMENTS), cluster, user, password, size).await
    }

    async fn start_program(
        program: &Path,
        statements: Option<u32>,
        cluster: &Cluster,
        user: &str,
        password: &str,
        size: u16,
    ) -> Result<Self> {
        let account = Account::of_servers()?;
        let program = enterable(program, account)?;
        let home = Home::throwaway(account)?;
        let port = Wanted::Any.port()?;
        let users = write(&home, account, "users", &format!("\"{user}\" \"{password}\"\n"))?;
        let mut settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = {size}\nmax_client_conn = 2000\nserver_login_retry = 1\n\
             admin_users = {user}\n",
            server = cluster.port(),
            port = port.number(),
            users = users.display(),
        );
        if let Some(statements) = statements {
            settings.push_str(&format!("max_prepared_statements = {statements}\n"));
        }
        let settings = write(&home, account, "pgbouncer.ini", &settings)?;
        let mut guard = Guard::over("TERM", home.to_remove())?;
        let mut command = account.command(&program);
        command
            .arg("--quiet")
            .arg(settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().context("cannot start pgbouncer")?;
        guard.watch(Pid::from_child(&process))?;
        let mut pooler = Self {
            process,
            port,
            _guard: guard,
            _home: home,
        };
        let end = Instant::now() + READY;
        while TcpStream::connect(pooler.address()).await.is_err() {
            if let Some(status) = pooler.process.try_wait()? {
                bail!("pgbouncer did not start ({status})");
            }
            if Instant::now() >= end {
                bail!("pgbouncer was not ready within {} s", READY.as_secs());
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(pooler)
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the programs on this machine.
fn programs() -> impl Iterator<Item = PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let folders = folders
        .into_iter()
        .chain([PathBuf::from(ALSO_IN), PathBuf::from(BUILT)]);
    folders
        .map(|folder| folder.join("pgbouncer"))
        .filter(|program| program.is_file())
}

fn keeps_statements(program: &Path) -> bool {
    let mut asked = Command::new(program);
    let output = asked.arg("--version").stdin(Stdio::null()).output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    version(&String::from_utf8_lossy(&said)).is_some_and(|version| version >= KEEPS_STATEMENTS)
}

/// Parses the major and minor version from the output of `pgbouncer --version`, for example `PgBouncer 1.24.1`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
    let mut number = || numbers.next()?.trim().parse().ok();
    Some((number()?, number()?))
}

/// Returns the program, or a copy of it in the cache folder if the servers' account cannot enter the program's folder,
/// because a checkout of root's may be below a private folder.
fn enterable(program: &Path, account: Account) -> Result<PathBuf> {
    if program.parent().is_some_and(|folder| account.enters(folder)) {
        return Ok(program.to_owned());
    }
    let cache = places::cache(account)?;
    let copied = tempfile::Builder::new().prefix("pgbouncer-").tempfile_in(&cache)?;
    let place = cache.join("pgbouncer");
    std::fs::copy(program, copied.path())
        .and_then(|_| std::fs::set_permissions(copied.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)))
        .with_context(|| format!("cannot copy {} to {}", program.display(), cache.display()))?;
    copied
        .persist(&place)
        .with_context(|| format!("cannot make {}", place.display()))?;
    Ok(place)
}

fn write(home: &Home, account: Account, name: &str, text: &str) -> Result<PathBuf> {
    let path: PathBuf = Path::new(home.folder()).join(name);
    std::fs::write(&path, text)
        .and_then(|()| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    account.own(&path)?;
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn version_comes_from_first_line() {
        assert_eq!(version("PgBouncer 1.24.1\nlibevent 2.1.12-stable\n"), Some((1, 24)));
        assert_eq!(version("PgBouncer 1.18.0\n"), Some((1, 18)));
        assert!(version("PgBouncer 1.9.0").unwrap() < KEEPS_STATEMENTS);
        assert_eq!(version("pgbouncer: not found"), None);
        assert_eq!(version(""), None);
    }
}
