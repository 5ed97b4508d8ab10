//! The running backend: the functions' environments, the gateway in front of them, and the messages about both.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use local::gateway::{Authorizer, DevelopmentKey, Gateway, Issuer, Observer, Origins, Routes, Settings};
use local::lambda::{Function, Lambda, Options};
use shared::diagnostics::FUNCTION_TIMEOUT;
use tokio::sync::Notify;

use super::log;
use crate::build::Binaries;

/// Returns the functions for which API Gateway requires no token, as `openapi.json` has them.
fn public() -> BTreeSet<String> {
    let document = functions::openapi::document();
    let paths = document["paths"]
        .as_object()
        .into_iter()
        .flat_map(|paths| paths.values());
    let operations = paths.filter_map(|path| path.as_object()).flat_map(|path| path.values());
    let public = operations.filter(|operation| operation["security"] == serde_json::json!([]));
    public
        .filter_map(|operation| Some(operation["operationId"].as_str()?.to_owned()))
        .collect()
}

/// The permitted callers: the issuer of their tokens, and the origins of pages.
pub(crate) struct Callers {
    /// The file of this machine's key, for tokens without an issuer.
    pub(crate) key: PathBuf,
    pub(crate) tokens: Tokens,
    pub(crate) origins: Origins,
}

/// Whose tokens are accepted.
pub(crate) enum Tokens {
    Development,
    Issuer(Arc<Issuer>),
    /// The issuer cannot be reached.
    Dropped,
}

/// Returns the addresses of localhost that this machine has.
///
/// # Errors
/// Fails if the port is in use, or this user is not allowed to listen on it.
pub(crate) fn addresses(port: u16) -> Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        let address = SocketAddr::from((ip, port));
        match TcpListener::bind(address) {
            Ok(_) => addresses.push(address),
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "port {port} is taken: stop what listens on {address} (another `cargo local`?), or choose a port with --port"
            ),
            // A machine without IPv6 is acceptable.
            Err(_) if ip.is_ipv6() => {}
            Err(error) => bail!("cannot listen on {address}: {error}"),
        }
    }
    Ok(addresses)
}

/// The running backend. Dropping it stops it at once.
pub(crate) struct Front {
    gateways: Vec<Gateway>,
    pub(crate) lambda: Arc<Lambda>,
    /// Notified with each 503, which may mean that the database is out of reach.
    pub(crate) unavailable: Arc<Notify>,
}

impl Front {
    /// Serves `routes` and `pages` at `addresses`, each function with `variables` as its environment.
    ///
    /// # Errors
    /// Fails if the port has been taken meanwhile, or the key file cannot be read.
    pub(crate) async fn open(
        addresses: Vec<SocketAddr>,
        routes: &Routes,
        binaries: &Binaries,
        variables: &[(String, String)],
        callers: &Callers,
        pages: &Router,
    ) -> Result<Self> {
        let mut functions = Vec::new();
        for name in routes.functions() {
            let binary = binaries
                .get(name)
                .with_context(|| format!("cargo built no function {name}"))?;
            functions.push(Function {
                env: variables.to_vec(),
                timeout: FUNCTION_TIMEOUT,
                ..Function::new(name, binary)
            });
        }
        let options = Options {
            forward_logs: Some(log::show),
            ..Options::default()
        };
        let mut front = Self {
            gateways: Vec::new(),
            lambda: Arc::new(Lambda::start(functions, options)?),
            unavailable: Arc::default(),
        };
        let unavailable = Arc::clone(&front.unavailable);
        let observer: Observer = Arc::new(move |answer| {
            log::answered(answer);
            if answer.status == 503 {
                unavailable.notify_one();
            }
        });
        for address in addresses {
            let settings = Settings {
                routes: routes.clone(),
                public: public(),
                authorizer: match &callers.tokens {
                    Tokens::Issuer(issuer) => Some(Authorizer::Issuer(Arc::clone(issuer))),
                    Tokens::Development => Some(Authorizer::Development(DevelopmentKey::load_or_create(&callers.key)?)),
                    Tokens::Dropped => None,
                },
                origins: callers.origins.clone(),
                lambda: Arc::clone(&front.lambda),
                pages: pages.clone(),
                answered: Some(Arc::clone(&observer)),
            };
            front.gateways.push(Gateway::start(address, settings).await?);
        }
        Ok(front)
    }

    /// Finishes the requests in flight, for at most five seconds, and shuts every environment down.
    pub(crate) async fn close(self) {
        for gateway in self.gateways {
            gateway.stop().await;
        }
        self.lambda.shutdown().await;
    }
}
