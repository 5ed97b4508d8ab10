//! The catalogue: a scenario for every fault about which the product guarantees something, in two sizes.
//!
//! The small size is for `cargo test`: each fault once, a few requests, short outages. `docs/reliability/faults.md`
//! reports the full one. Both assert the same about every answer and every row; figures in seconds are only compared in
//! the full size.

mod commits;
mod crowds;
mod frozen;
mod hung;
mod lives;
mod network;
mod server;
mod waking;

use std::time::Duration;

use super::fault::{Fault, Whose};
use super::operations::Workload;
use super::scenario::{Expectation, Injection, Load, Scenario};
use super::testbed::{NAME, Setup};
use local::postgres::Shutdown;
use local::proxy::{Admission, Cut, Effect, Refusal, Statements};

use Expectation::{
    ColdWithin, Connections, ConnectionsAtMost, Cuts, NothingRefused, ReadsServed, RecoversWithin, SomethingRefused,
    SomethingUnknown, WastedLogins, Within,
};
use Fault::{
    ClockMoved, Crashed, Delay, EnvironmentsInitialised, EnvironmentsLost, EnvironmentsRetired, FailedOver,
    FailedOverUntold, Hung, Locked, LostReply, Migrated, NewConnections, Next, PasswordRotated, ReadOnly, Recovering,
    Reset, Silence, SlotsTaken, SnapshotHeld, StandbyServes, Stopped, Terminate, Unreachable, Unreplicated,
    Unresolvable,
};

/// The size of all scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For `cargo test`.
    Small,
    /// For `cargo seer faults`.
    Full,
}

impl Size {
    fn of<T>(self, small: T, full: T) -> T {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }

    /// Returns figures that hold on an idle machine, in release builds.
    fn figures(self, expectations: &[Expectation]) -> Vec<Expectation> {
        self.of(Vec::new(), expectations.to_vec())
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Idle for longer than a connection is reused without a ping.
const STALE: Duration = ms(1_100);

/// The statement of a write: it leaves a receipt. A tombstone matches too.
const WRITES: Statements = Statements::Containing("INSERT INTO receipts");

/// A read's statement: it looks up the caller. Writes match too.
const READS: Statements = Statements::Containing("clerk_id");

/// The message of Aurora DSQL while it wakes, or over its limit of connects a second.
const RATE_EXCEEDED: Refusal = Refusal {
    sqlstate: "53400",
    message: "Unable to accept connection, rate exceeded.",
};

/// Returns every scenario, in playing order.
pub fn catalogue(size: Size) -> Vec<Scenario> {
    [
        frozen::frozen(size),
        hung::hung(size),
        network::network(size),
        server::server(size),
        commits::commits(size),
        crowds::crowds(size),
        waking::waking(size),
        lives::lives(size),
    ]
    .concat()
}

/// Rounds in which a function may wait for its timeout.
const ROUNDS_WITH_TIMEOUT: usize = 4;

/// Rounds of any other fault, at most.
const ROUNDS: usize = 20;

/// Returns the scenarios for any function, which do not depend on its data. `statement` is a part of the SQL of its writes,
/// if it writes. Their expectations apply to the product only.
pub(crate) fn for_function(size: Size, statement: Option<&'static str>) -> Vec<Scenario> {
    const READ: [&str; 28] = [
        "terminated-while-frozen",
        "blackholed-while-frozen",
        "hung-while-frozen",
        "hung-at-a-read",
        "refused",
        "reset",
        "syn-swallowed",
        "name-gone",
        "connections-reset",
        "blackholed-in-use",
        "slow-to-connect",
        "latency-and-jitter",
        "terminated-mid-query",
        "restarted",
        "restarted-in-order",
        "stopped-2s-reads",
        "recovering",
        "failed-over",
        "read-only",
        "password-rotated",
        "migrated",
        "locked",
        "stopped-20s",
        "cold-150",
        "slots-taken",
        "slow-log-ins",
        "down-at-cold-start",
        "environments-retired",
    ];
    const WRITE: [&str; 8] = [
        "terminated-while-frozen-briefly",
        "blackholed-while-frozen-writes",
        "hung-while-frozen-writes",
        "hung-at-a-write",
        "write-cut",
        "write-late",
        "crashed-at-reply",
        "failed-over-at-reply",
    ];
    let statements = |known| match known == WRITES {
        true => Statements::Containing(statement.unwrap_or_default()),
        false => Statements::Containing(""),
    };
    let mut all = catalogue(size);
    all.retain(|scenario| READ.contains(&scenario.name) || statement.is_some() && WRITE.contains(&scenario.name));
    for scenario in &mut all {
        limit_rounds(scenario);
        for injection in &mut scenario.injections {
            injection.met = None;
            for fault in &mut injection.faults {
                if let Next(known, _) | LostReply(known) = fault {
                    *known = statements(*known);
                }
            }
        }
    }
    all
}

/// Limits the rounds that cost most functions a timeout each.
fn limit_rounds(scenario: &mut Scenario) {
    let injections = &scenario.injections;
    let mut faults = injections.iter().flat_map(|injection| &injection.faults);
    let waits =
        faults.any(|fault| fault.silences() || matches!(fault, Next(_, Effect::LateRequest(_) | Effect::LateReply(_))));
    if let Load::Rounds { rounds, .. } = &mut scenario.load {
        *rounds = (*rounds).min(if waits { ROUNDS_WITH_TIMEOUT } else { ROUNDS });
    }
}

/// Returns the scenarios for the comparison with the designs of `tests/peers`.
pub fn for_peers() -> Vec<Scenario> {
    let names = [
        "terminated-while-frozen",
        "blackholed-while-frozen",
        "stopped-2s-reads",
        "cold-150",
    ];
    let mut all = catalogue(Size::Full);
    all.retain(|scenario| names.contains(&scenario.name));
    for scenario in &mut all {
        limit_rounds(scenario);
        // How many there are depends on the rounds.
        scenario
            .expectations
            .retain(|expected| !matches!(expected, Connections(_)));
    }
    all
}

/// Returns a scenario with the default setup.
fn scenario(name: &'static str, about: &'static str, load: Load, injections: Vec<Injection>) -> Scenario {
    Scenario {
        name,
        about,
        setup: Setup::default(),
        cold: false,
        load,
        injections,
        expectations: Vec::new(),
    }
}

fn expecting(mut scenario: Scenario, always: &[Expectation], figures: Vec<Expectation>) -> Scenario {
    scenario.expectations = [always, &figures].concat();
    scenario
}

fn staged(mut scenario: Scenario, setup: Setup) -> Scenario {
    scenario.setup = setup;
    scenario
}

fn inject(after: usize, fault: Fault, hold: Duration) -> Injection {
    together(after, vec![fault], hold)
}

/// Faults that are injected together; a request may or may not hit them.
fn together(after: usize, faults: Vec<Fault>, hold: Duration) -> Injection {
    Injection {
        after,
        faults,
        hold,
        met: None,
    }
}

/// Injects one instant fault after another, `every` answers apart.
fn volley(fault: Fault, times: usize, every: usize) -> Vec<Injection> {
    (1..=times).map(|n| inject(n * every, fault, Duration::ZERO)).collect()
}

fn steady(size: Size, kind: Workload) -> Load {
    Load::Steady {
        clients: size.of(3, 8),
        requests: size.of(8, 60),
        kind,
    }
}

fn everyone(size: Size) -> Load {
    steady(size, Workload::Everything)
}
