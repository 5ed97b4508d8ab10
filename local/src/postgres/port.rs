//! A free TCP port for a server that will be stopped and started again on it.
//!
//! Ports are below the range for outgoing connections: a client that keeps connecting to a stopped server in that range
//! would eventually get the server's own port as its source port, and connect to itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

const LOWEST: u16 = 15_000;
/// The outgoing range begins at 32,768 on Linux and 49,152 on macOS, unless configured otherwise.
const HIGHEST: u16 = 32_000;
const TRIES: usize = 200;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that no other cluster of this process uses, running or stopped, until this is dropped.
#[derive(Debug)]
pub(super) struct Port(u16);

impl Port {
    /// Returns a port that nothing listened on a moment ago; binding it can still conflict.
    fn free() -> Result<Port> {
        for _ in 0..TRIES {
            let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
            let offset = (high ^ low) % u64::from(HIGHEST - LOWEST);
            let number = LOWEST + u16::try_from(offset).unwrap_or_default();
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
                && let Some(port) = Port::take(number)
            {
                return Ok(port);
            }
        }
        bail!("no free port on 127.0.0.1 between {LOWEST} and {HIGHEST}")
    }

    /// Takes this port, unless another cluster of this process has it.
    fn take(number: u16) -> Option<Port> {
        let new = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        new.then(|| Port(number))
    }

    pub(super) fn number(&self) -> u16 {
        self.0
    }
}

/// The port for a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    /// This one, if it is free.
    Rather(u16),
    Exactly(u16),
}

impl Wanted {
    pub(super) fn port(self) -> Result<Port> {
        match self {
            Wanted::Any => Port::free(),
            Wanted::Rather(number) => Port::take(number).map_or_else(Port::free, Ok),
            Wanted::Exactly(number) => {
                Port::take(number).with_context(|| format!("port {number} is another cluster's"))
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn port_is_reserved_until_dropped() {
        let first = Wanted::Any.port().unwrap();
        let number = first.number();
        assert!(Wanted::Exactly(number).port().is_err());
        assert_ne!(Wanted::Rather(number).port().unwrap().number(), number);
        drop(first);
        assert_eq!(Wanted::Rather(number).port().unwrap().number(), number);
    }
}
