//! A scenario: a stage, a load, the faults that strike meanwhile, and what must come of it. Values only.

use std::time::Duration;

use super::fault::Fault;
use super::operations::Kind;
use super::scene::Stage;

/// What is asked of the fleet.
#[derive(Clone, Debug)]
pub enum Load {
    /// Clients at once, each with this many requests and more until the last fault is over.
    Steady {
        /// Clients.
        clients: usize,
        /// Requests of each, tries of the same one counted once.
        requests: usize,
        /// Which.
        kind: Kind,
    },
    /// One client, one request a round; before each, one of the strikes is made in their turn, and it is lifted after.
    Rounds {
        /// Rounds.
        rounds: usize,
        /// Which requests.
        kind: Kind,
        /// Before the faults strike, everything is frozen, and stays so for this long.
        frozen: Option<Duration>,
    },
    /// Environments that all start at once, each for a request; then all of them serve on, side by side.
    Burst {
        /// Environments.
        environments: usize,
        /// Further requests of each.
        requests: usize,
    },
}

/// Faults that come together.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Requests answered before, since the load began; without meaning for [`Load::Rounds`].
    pub after: usize,
    /// Struck in this order, and lifted in this order.
    pub faults: Vec<Fault>,
    /// In force for this long.
    pub hold: Duration,
    /// And until the server has answered somebody with this SQLSTATE.
    pub met: Option<&'static str>,
}

/// What must come of a scenario, beyond the contract and the tables, which always must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Every request got the answer it asked for.
    NothingRefused,
    /// Some requests were refused: the fault was met.
    SomethingRefused,
    /// Some writes were answered with `commit-unknown`: the fault was met.
    SomethingUnknown,
    /// New connections while the load was on, exactly.
    Connections(u64),
    /// No read was refused.
    ReadsServed,
    /// New connections while the load was on, at most.
    ConnectionsAtMost(u64),
    /// Log-ins, begun or complete, that served no request, at most.
    WastedLogins(u64),
    /// Orders that were carried out, exactly: COMMITs or statements that were cut.
    Cuts(u64),
    /// The slowest answer took no longer. A figure: it is reported when missed, and no failure.
    Within(Duration),
    /// Of a burst, the slowest first answer of an environment took no longer. A figure, too.
    ColdWithin(Duration),
    /// From the lifting of the last fault to the first write acknowledged after it, or read where nothing is written;
    /// and no request that is sent later than that is refused. A figure, too.
    RecoversWithin(Duration),
}

/// One entry of the catalogue.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For `--only`.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// Where.
    pub stage: Stage,
    /// Every environment is shut down before the first fault strikes.
    pub cold: bool,
    /// What is asked.
    pub load: Load,
    /// What goes wrong.
    pub strikes: Vec<Strike>,
    /// What must come of it.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// How long the load goes on once the last fault is lifted, so that a recovery of all can be told from that of one.
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
