//! PgBouncer in front of a cluster, pooling by transaction.
//!
//! It may not install anything: where there is no `pgbouncer`, there is no pooler. It relies on the guard to end it when
//! this process is killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
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
use super::port::{Port, Wanted};
use super::variables::variable;

/// Debian puts it where an ordinary account's PATH does not look.
const ALSO_IN: &str = "/usr/sbin";
const READY: Duration = Duration::from_secs(10);

/// A running PgBouncer. Dropped, it ends at once, and so does every connection through it.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    port: Port,
    _guard: Guard,
    _home: Home,
}

impl Pooler {
    /// The program, if it is installed.
    pub fn find() -> Option<PathBuf> {
        let path = variable("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from(ALSO_IN)]);
        folders
            .map(|folder| folder.join("pgbouncer"))
            .find(|program| program.is_file())
    }

    /// Starts one in front of `cluster` for one user, with `size` connections to the server.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub async fn start(cluster: &Cluster, user: &str, password: &str, size: u16) -> Result<Self> {
        let program = Self::find().context("pgbouncer is not installed")?;
        let account = Account::of_servers()?;
        let home = Home::throwaway(account)?;
        let port = Wanted::Any.port()?;
        let users = write(&home, account, "users", &format!("\"{user}\" \"{password}\"\n"))?;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = {size}\nmax_client_conn = 2000\nserver_login_retry = 1\n",
            server = cluster.port(),
            port = port.number(),
            users = users.display(),
        );
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

    /// Where it listens.
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

fn write(home: &Home, account: Account, name: &str, text: &str) -> Result<PathBuf> {
    let path: PathBuf = Path::new(home.folder()).join(name);
    std::fs::write(&path, text)
        .and_then(|()| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    account.own(&path)?;
    Ok(path)
}
