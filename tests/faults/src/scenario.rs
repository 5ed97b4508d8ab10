//! A scenario: a setup, a load, the faults injected meanwhile, and the expectations. Values only.

use std::time::Duration;

use super::fault::Fault;
use super::operations::Workload;
use super::testbed::Setup;

/// The load on the fleet.
#[derive(Clone, Debug)]
pub enum Load {
    /// Concurrent clients, each with this many requests and more until the last fault is over.
    Steady {
        /// Clients.
        clients: usize,
        /// Requests of each, attempts at the same one counted once.
        requests: usize,
        /// Their kind.
        kind: Workload,
    },
    /// One client, one request per round; before each, one of the faults is injected in turn, and it is cleared
    /// afterwards.
    Rounds {
        /// Rounds.
        rounds: usize,
        /// The kind of requests.
        kind: Workload,
        /// Before a fault is injected, everything is frozen, and stays so for this long.
        frozen: Option<Duration>,
    },
    /// Environments that all start at once, each for one request; then all of them continue serving concurrently.
    Burst {
        /// Environments.
        environments: usize,
        /// Further requests of each.
        requests: usize,
    },
}

/// Faults that are injected together.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Requests answered before, since the load started; ignored for [`Load::Rounds`].
    pub after: usize,
    /// Injected in this order, and cleared in this order.
    pub faults: Vec<Fault>,
    /// In force for this long.
    pub hold: Duration,
    /// And until the server has answered a client with this SQLSTATE.
    pub met: Option<&'static str>,
}

/// A requirement on a scenario's result, in addition to the contract and the tables, which always must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Every request got its expected answer.
    NothingRefused,
    /// Some requests were refused: the fault had an effect.
    SomethingRefused,
    /// Some writes were answered with `commit-unknown`: the fault had an effect.
    SomethingUnknown,
    /// The exact number of new connections during the load.
    Connections(u64),
    /// No read was refused.
    ReadsServed,
    /// The maximum number of new connections during the load.
    ConnectionsAtMost(u64),
    /// The maximum number of log-ins, begun or complete, that served no request.
    WastedLogins(u64),
    /// The exact number of orders carried out: COMMITs or statements that were cut.
    Cuts(u64),
    /// The maximum duration of an answer. A figure: it is reported when missed, but is no failure.
    Within(Duration),
    /// In a burst, the maximum duration of an environment's first answer. A figure, too.
    ColdWithin(Duration),
    /// The maximum time from clearing the last fault to the first write acknowledged after it, or read if nothing is
    /// written; and no request that is sent later than that is refused. A figure, too.
    RecoversWithin(Duration),
}

/// One entry of the catalogue.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name for `--only`.
    pub name: &'static str,
    /// A description, in a sentence.
    pub about: &'static str,
    /// The setup.
    pub setup: Setup,
    /// Whether every environment is shut down before the first fault is injected.
    pub cold: bool,
    /// The load.
    pub load: Load,
    /// The faults.
    pub injections: Vec<Injection>,
    /// The expectations.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// Returns how long the load continues after the last fault is cleared, to distinguish a recovery of all
    /// environments from that of one.
    pub(super) fn lingers(&self) -> Duration {
        let recoveries = self.expectations.iter().filter_map(|expectation| {
            if let Expectation::RecoversWithin(wanted) = expectation {
                Some(2 * *wanted)
            } else {
                None
            }
        });
        recoveries.max().unwrap_or_default()
    }
}
