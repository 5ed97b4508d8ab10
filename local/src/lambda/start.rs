//! The start of an environment: its process, its log and its Runtime API.
//!
//! Depends on: all parts of an environment, none of which depends on this module.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::environment::{Environment, Phase};
use super::exchange::Claim;
use super::function::Function;
use super::log::{Forward, Log};
use super::process::Process;
use super::runtime_api;
use super::state::State;
use super::watchdog::Watchdog;

impl Environment {
    /// Starts the process and its Runtime API; INIT runs without further calls. The claim is on its first slot.
    pub(super) fn start(
        function: &Arc<Function>,
        freezing: &Arc<AtomicBool>,
        watchdog: &Arc<Watchdog>,
        forward_log: Option<Forward>,
    ) -> anyhow::Result<Claim> {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .context("cannot listen on 127.0.0.1 for a Runtime API")?;
        listener.set_nonblocking(true)?;
        let runtime_api = listener.local_addr()?.to_string();
        let listener = TcpListener::from_std(listener)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (log, stdout, stderr) = Log::new(forward_log.map(|to| (function.name.clone(), to)))?;
        let output = (stdout, stderr);
        let (process, child) = Process::start(function, &runtime_api, &id, output, watchdog)?;

        let environment = Arc::new(Self {
            id,
            function: Arc::clone(function),
            process,
            log,
            state: Mutex::new(State::new()),
            phase: watch::Sender::new(Phase::Initializing),
            freezing: Arc::clone(freezing),
        });
        let supervised = Arc::clone(&environment);
        tokio::spawn(async move {
            let status = supervised.process.supervise(child, &supervised.log).await;
            supervised.end(status);
        });
        tokio::spawn(runtime_api::serve(listener, Arc::clone(&environment)));
        Ok(Claim::first(environment))
    }
}
