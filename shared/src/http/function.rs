//! The state of an execution environment: the results of INIT, the running invocations, and the shutdown by SIGTERM.
//!
//! Nothing runs in the background except the extension's long poll, which makes Lambda send SIGTERM.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::problem::Error;
use super::share::Shares;
use crate::config::{Config, ConfigError};
use crate::db::Pool;
use crate::service::Service;
use crate::shared_pool;

/// The values that live as long as the execution environment.
#[derive(Debug)]
pub struct Function {
    /// The product's settings.
    pub service: &'static Service,
    /// The environment's variables, read once.
    pub config: Config,
    pub(super) pool: &'static Result<Pool, ConfigError>,
    /// The event that INIT handles once it has a connection; `None` if INIT opens no connection.
    pub(super) example: Option<&'static str>,
    pub(super) cold: AtomicBool,
    /// `None` without a limit.
    pub(super) shares: Option<Shares>,
    /// The number of invocations from their event until Lambda has their answer.
    pub(super) under_way: watch::Sender<usize>,
}

impl Function {
    pub(super) fn new(service: &'static Service, config: Config, example: Option<&'static str>) -> Self {
        Self {
            service,
            pool: shared_pool::of(&config),
            shares: Shares::new(
                *config.caller_share.as_ref().unwrap_or(&100),
                config.lambda.max_concurrency,
            ),
            config,
            example,
            cold: AtomicBool::new(true),
            under_way: watch::Sender::new(0),
        }
    }

    /// Returns the pool.
    ///
    /// # Errors
    /// Fails with 500 if `DATABASE_URL` is not usable.
    pub fn pool(&self) -> Result<&Pool, Error> {
        self.pool.as_ref().map_err(|error| Error::from(error.clone()))
    }
}

/// Counts one running invocation.
pub(super) struct UnderWay(&'static watch::Sender<usize>);

impl UnderWay {
    pub(super) fn begin(count: &'static watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The timeout of the extension's registration, within INIT's 10 s. It must not be shorter: Lambda relies on the
/// registration, and an extension that gave up waiting would never ask for an event, so that INIT would be aborted and
/// run again.
const REGISTRATION: Duration = Duration::from_secs(8);

/// The time for running requests after SIGTERM. Together with closing the connections it fits into the two seconds that
/// Lambda allows at most before SIGKILL.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(1_500);

/// On SIGTERM, lets the running requests finish, closes the connections and ends the process. Lambda sends SIGTERM only
/// if an extension is registered, so this registers an internal one, for no events. An implementation of the Runtime
/// API without extensions is accepted: then there is no SIGTERM either.
pub(super) async fn close_on_sigterm(function: &'static Function) {
    let name = format!("{}-graceful-shutdown", function.service.name);
    let extension = lambda_extension::Extension::new()
        .with_events(&[])
        .with_extension_name(&name)
        .register();
    let registered = match timeout(REGISTRATION, extension).await {
        Ok(Ok(registered)) => registered,
        Ok(Err(_)) | Err(_) => {
            return tracing::debug!("no extension registered: connections are not closed on shutdown");
        }
    };
    // Lambda ends INIT only when the extension asks for its next event.
    tokio::spawn(async move {
        let _ = registered.run().await;
    });
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return tracing::warn!("SIGTERM cannot be waited for: connections are not closed on shutdown");
    };
    tokio::spawn(async move {
        terminate.recv().await;
        let mut under_way = function.under_way.subscribe();
        if timeout(SHUTDOWN_GRACE, under_way.wait_for(|count| *count == 0))
            .await
            .is_err()
        {
            tracing::warn!("shut down with a request under way");
        }
        if let Ok(pool) = &function.pool {
            pool.close_idle().await;
        }
        std::process::exit(0);
    });
}
