//! A cluster: data, configuration and the server that runs on it, from its creation to its removal.
//!
//! All changes go through one lock, so that two tasks never start or stop the server at once. Invariants: leaves no
//! server running: every way in which this value or this process can end stops it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::binaries::Binaries;
use super::guard::Guard;
use super::home::Home;
use super::log::Log;
use super::port::{Port, Wanted};
use super::server::{self, Server, Start};
use super::settings::{Configuration, Settings};
use super::template::{SEER, Template};
use super::tls::{self, Front};

/// The limit for stopping a server. A smart stop waits for its clients, but not longer than this.
const STOP: Duration = Duration::from_secs(60);
/// The limit for stopping a dropped cluster's server. After five seconds PostgreSQL itself kills children that ignore
/// an immediate stop.
const STOP_ON_DROP: Duration = Duration::from_secs(15);
/// How long a start waits for its port, or for the orphan guard of a killed process to stop the server on its data.
const TAKEN: Duration = Duration::from_secs(15);
const TRY_AGAIN: Duration = Duration::from_millis(50);
const RELOAD: Duration = Duration::from_secs(10);

/// How a server is stopped, by the names of `pg_ctl`'s modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// No new sessions; waits until the last client has gone.
    Smart,
    /// Ends all sessions, rolls their transactions back, writes a checkpoint.
    Fast,
    /// Ends all sessions without a message and writes nothing: the next start recovers from the write-ahead log.
    Immediate,
}

impl Shutdown {
    fn signal(self) -> Signal {
        match self {
            Shutdown::Smart => Signal::TERM,
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        }
    }
}

/// A PostgreSQL cluster on 127.0.0.1 with a superuser `seer`, its password and a database `seer`.
///
/// Dropping it stops the server and blocks the thread until it has ended: a throwaway cluster at once, and its folder
/// is removed; a durable one in order, after a checkpoint. If this process is killed instead, a guard does the same.
///
/// Every method may be called from several tasks; one waits for the other. A dropped future leaves the server in a
/// state between the two, from which each of the methods can continue.
pub struct Cluster {
    pub(super) binaries: Binaries,
    pub(super) account: Account,
    pub(super) log: Log,
    front: Option<Front>,
    port: Port,
    password: String,
    authority: Option<PathBuf>,
    // Fields are dropped in this order: the guard, in the state, is dropped after the folder.
    home: Home,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    server: Option<Server>,
    configuration: Configuration,
    guard: Guard,
}

impl Cluster {
    /// Starts a new cluster on a copy of a prepared data folder: in memory if the machine has room, without durability
    /// in a crash of the machine, removed when dropped.
    ///
    /// Fails if no PostgreSQL can be found or fetched, or it does not start; the error then ends with its log.
    pub async fn throwaway(settings: Settings) -> Result<Cluster> {
        Cluster::throwaway_of(Binaries::find().await?, settings).await
    }

    /// Starts a throwaway cluster with given binaries; see [`Cluster::throwaway`].
    pub(super) async fn throwaway_of(binaries: Binaries, settings: Settings) -> Result<Cluster> {
        let account = Account::of_servers()?;
        let template = Template::of(&binaries, account).await?;
        // Home and guard are moved along, so that a dropped future leaves neither before the copying is over.
        let (home, guard) = spawn_blocking(move || {
            let home = Home::throwaway(account)?;
            let guard = Guard::over("QUIT", home.to_remove())?;
            template.copy_to(home.folder(), account)?;
            anyhow::Ok((home, guard))
        })
        .await??;
        if settings.tls {
            tls::certify(&home.data(), account)?;
        }
        let configuration = Configuration::throwaway(&settings)?;
        let port = settings.port.map_or(Wanted::Any, Wanted::Exactly);
        Cluster::begin(binaries, account, home, guard, configuration, port).await
    }

    /// Starts the cluster in `folder`, and creates it if there is none; its data stays when this is dropped. Without a
    /// port in `settings` it gets the same free port each time, as long as that stays free.
    ///
    /// Fails if another process uses the folder, or another major version of PostgreSQL created it.
    pub async fn durable(folder: &Path, settings: Settings) -> Result<Cluster> {
        let binaries = Binaries::find().await?;
        let account = Account::of_servers()?;
        let home = Home::durable(folder, account).await?;
        let guard = Guard::over("INT", None)?;
        home.prepare(&binaries, account).await?;
        if settings.tls {
            tls::certify(&home.data(), account)?;
        }
        let configuration = Configuration::durable(&settings)?;
        let noted = home.folder().join("port");
        let before = std::fs::read_to_string(&noted)
            .ok()
            .and_then(|port| port.trim().parse().ok());
        let port = match (settings.port, before) {
            (Some(port), _) => Wanted::Exactly(port),
            (None, Some(port)) => Wanted::Rather(port),
            (None, None) => Wanted::Any,
        };
        let cluster = Cluster::begin(binaries, account, home, guard, configuration, port).await?;
        std::fs::write(&noted, cluster.port().to_string())
            .with_context(|| format!("cannot write {}", noted.display()))?;
        Ok(cluster)
    }

    /// Removes the durable cluster in `folder` with all its data. Fails if a process uses it; succeeds if there is
    /// none.
    pub async fn remove(folder: &Path) -> Result<()> {
        Home::remove(folder).await
    }

    /// Starts the server on a home whose data, and certificate if it uses TLS, exist.
    pub(super) async fn begin(
        binaries: Binaries,
        account: Account,
        home: Home,
        guard: Guard,
        mut configuration: Configuration,
        wanted: Wanted,
    ) -> Result<Cluster> {
        let (password, data) = (home.password()?, home.data());
        let log = Log::at(home.log());
        let authority = configuration.tls.then(|| data.join(tls::AUTHORITY));
        configuration.write(&data, account)?;
        let fronted = configuration.tls && !tls::is_built_in(&binaries, &data, account).await?;
        if configuration.tls && !fronted {
            configuration.set("ssl", "on")?;
        }
        // If a front terminates TLS, clients connect to it, and the server's own port is internal.
        let (front, wanted) = if fronted {
            (Some(wanted.port()?), Wanted::Any)
        } else {
            (None, wanted)
        };
        let port = wanted.port()?;
        let state = Mutex::new(State {
            server: None,
            configuration,
            guard,
        });
        let mut cluster = Cluster {
            binaries,
            account,
            log,
            front: None,
            port,
            password,
            authority,
            home,
            state,
        };
        let end = Instant::now() + TAKEN;
        loop {
            match (cluster.launch().await?, wanted) {
                (Start::Ready, _) => break,
                (Start::PortTaken, Wanted::Any | Wanted::Rather(_)) if Instant::now() < end => {
                    cluster.port = Wanted::Any.port()?;
                }
                (Start::DataTaken, _) if Instant::now() < end => sleep(TRY_AGAIN).await,
                (Start::PortTaken, _) => bail!(cluster.port_taken()),
                (Start::DataTaken, _) => bail!(cluster.data_taken()),
            }
        }
        if let Some(front) = front {
            cluster.front = Some(Front::of(front, cluster.server_port(), &data)?);
        }
        Ok(cluster)
    }

    /// Starts the server once, or waits for the start in progress.
    async fn launch(&self) -> Result<Start> {
        let mut state = self.state.lock().await;
        let data = self.home.data();
        let State {
            server,
            configuration,
            guard,
        } = &mut *state;
        if server.as_mut().is_some_and(Server::ended) {
            *server = None;
        }
        let running = match server {
            Some(running) => running,
            None => {
                configuration.set("port", &self.server_port().to_string())?;
                configuration.write(&data, self.account)?;
                let started = server.insert(Server::spawn(&self.binaries, self.account, &data, &self.log)?);
                guard.watch(started.pid())?;
                started
            }
        };
        let start = running.ready(&data, &self.log).await?;
        match start {
            Start::Ready => {}
            Start::PortTaken | Start::DataTaken => {
                running.signal(Signal::QUIT);
                ensure!(
                    running.end(STOP).await,
                    "PostgreSQL did not stop within {} s",
                    STOP.as_secs()
                );
                guard.rest()?;
            }
        }
        Ok(start)
    }

    /// Starts the server again, on the same data and the same port, and waits until it accepts connections; after a
    /// crash it recovers first. A running server is not touched.
    pub async fn start(&self) -> Result<()> {
        let end = Instant::now() + TAKEN;
        loop {
            let taken = match self.launch().await? {
                Start::Ready => return Ok(()),
                Start::PortTaken => self.port_taken(),
                Start::DataTaken => self.data_taken(),
            };
            ensure!(Instant::now() < end, taken);
            sleep(TRY_AGAIN).await;
        }
    }

    fn port_taken(&self) -> String {
        format!("port {} is taken by another process", self.server_port())
    }

    fn data_taken(&self) -> String {
        format!(
            "another PostgreSQL is running on {}: stop it first",
            self.home.data().display()
        )
    }

    /// Stops the server and waits until it has ended; succeeds if it is not running. Fails if it takes longer than a
    /// minute, which a smart stop does while a client stays: the server then stops when that client disconnects.
    pub async fn stop(&self, how: Shutdown) -> Result<()> {
        let mut state = self.state.lock().await;
        let State { server, guard, .. } = &mut *state;
        let Some(running) = server else { return Ok(()) };
        running.signal(how.signal());
        ensure!(
            running.end(STOP).await,
            "PostgreSQL did not stop within {} s",
            STOP.as_secs()
        );
        *server = None;
        guard.rest()
    }

    /// Stops the server and starts it again on the same port.
    pub async fn restart(&self, how: Shutdown) -> Result<()> {
        self.stop(how).await?;
        self.start().await
    }

    /// Kills the server and all its children with SIGKILL, and waits until they are gone: a crash. The next
    /// [`Cluster::start`] recovers from it.
    pub async fn kill(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let State { server, guard, .. } = &mut *state;
        let Some(running) = server else { return Ok(()) };
        let children = running.kill();
        running.gone(&children).await?;
        *server = None;
        guard.rest()
    }

    /// Sets a configuration parameter. It takes effect at the next [`Cluster::reload`], or [`Cluster::restart`] if
    /// PostgreSQL requires one.
    pub async fn set(&self, parameter: &str, value: &str) -> Result<()> {
        let mut state = self.state.lock().await;
        state.configuration.set(parameter, value)?;
        state.configuration.write(&self.home.data(), self.account)
    }

    /// Makes the running server read its configuration. Sessions opened after this have the new values; older ones get
    /// them before their next statement.
    pub async fn reload(&self) -> Result<()> {
        let said = self.log.end();
        self.signal(Signal::HUP).await?;
        self.log
            .says("received SIGHUP, reloading configuration files", said, RELOAD)
            .await
    }

    pub(super) async fn signal(&self, signal: Signal) -> Result<()> {
        let state = self.state.lock().await;
        let server = state.server.as_ref().context("the server is not running")?;
        server.signal(signal);
        Ok(())
    }

    pub(super) async fn configuration(&self) -> Configuration {
        self.state.lock().await.configuration.clone()
    }

    /// Returns the URL of the database `seer`, with the superuser and the password.
    pub fn url(&self) -> String {
        self.url_of(SEER)
    }

    /// Returns the URL of another database of this cluster. The name is inserted unchanged.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://{SEER}:{}@127.0.0.1:{}/{database}",
            self.password,
            self.port()
        )
    }

    /// Returns the TCP port, which is constant for the life of this cluster.
    pub fn port(&self) -> u16 {
        self.front.as_ref().map_or(self.server_port(), Front::port)
    }

    /// Returns the server's own port, which differs if a front terminates TLS for it.
    pub(super) fn server_port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the PEM file of the authority that signed the server's certificate, for `sslrootcert`; `None` without
    /// TLS.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Returns the superuser's password, unless it has been changed since.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns the folder with the cluster's data.
    pub fn data(&self) -> PathBuf {
        self.home.data()
    }

    /// Returns the server's log file.
    pub fn log(&self) -> &Path {
        self.log.path()
    }

    /// Returns the programs that this cluster runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }
}

impl fmt::Debug for Cluster {
    /// Without the password, which is also in the configuration.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.home.folder();
        to.debug_struct("Cluster")
            .field("port", &self.port())
            .field("folder", &folder)
            .finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let throwaway = self.home.to_remove().is_some();
        let data = self.home.data();
        let state = self.state.get_mut();
        if let Some(server) = &mut state.server {
            server.signal(if throwaway { Signal::QUIT } else { Signal::INT });
            if !server.end_blocking(STOP_ON_DROP) {
                server.kill();
                server.end_blocking(STOP_ON_DROP);
            }
        }
        if throwaway {
            server::forget_shared_memory(&data);
        }
    }
}
