//! Keeps an outage from costing every request its whole budget.
//!
//! The budget for getting a connection is counted per outage, not per request: a cold start that spent three seconds in
//! INIT leaves five to its first request. Once it is spent, requests are refused at once, and after a moment one of them
//! probes with a single attempt. A saturated server is not an outage, and ends one: it will serve, so everyone keeps
//! trying. A server that takes no writes is an outage of writes alone: reads go on.
//! No timer: the state is only looked at when a connection is wanted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Moment;
use super::connect::Purpose;
use super::error::Kind;

/// How long requests are refused between probes. Half of the second within which a returned database must be found.
const REFUSE_FOR: Duration = Duration::from_millis(500);

/// An outage last seen longer ago says nothing about now.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// A rest of the budget shorter than this is not worth a retry loop.
const WORTH_RETRYING: Duration = Duration::from_secs(1);

/// What a request that needs a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Try, and try again, for this long.
    Retry(Duration),
    /// Try once.
    Probe,
    /// Do not try: the outage's budget is spent, and this is what it looked like.
    Refuse(Kind),
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    /// Time spent on connecting. An environment that is frozen spends none.
    spent: Duration,
    last: Moment,
    kind: Kind,
}

/// The state of this environment's database as last seen.
#[derive(Debug, Default)]
pub struct Circuit {
    outages: Mutex<Outages>,
}

#[derive(Debug, Default)]
struct Outages {
    /// No connection can be opened.
    all: Option<Outage>,
    /// Connections can be opened, to servers that take no writes.
    writes: Option<Outage>,
}

impl Circuit {
    /// What may be done now, with `budget` for a whole outage. A probe counts as begun by asking.
    pub fn admit(&self, purpose: Purpose, budget: Duration) -> Admission {
        let mut seen = self.seen();
        let all = admit(&mut seen.all, budget);
        // Connections can be opened, as far as is known: the question is to which servers.
        if purpose == Purpose::Write && seen.all.is_none() {
            return admit(&mut seen.writes, budget);
        }
        all
    }

    /// Whether connections could not be opened lately.
    pub fn knows_outage(&self) -> bool {
        let all = self.seen().all;
        all.is_some_and(|outage| outage.last.elapsed() <= FORGET_AFTER)
    }

    /// A retry loop or a probe that began at `since` ended without a connection.
    pub fn failed(&self, since: Moment, kind: Kind) {
        let mut seen = self.seen();
        let outage = |known: Option<Outage>| {
            Some(Outage {
                spent: known.map_or(since.elapsed(), |outage| {
                    // Efforts beside each other are counted once.
                    outage.spent + since.elapsed().min(outage.last.elapsed())
                }),
                last: Moment::now(),
                kind,
            })
        };
        if kind == Kind::Saturated {
            // The server answered, and slots come free.
            *seen = Outages::default();
        } else if kind == Kind::ReadOnly {
            seen.all = None;
            seen.writes = outage(seen.writes);
        } else {
            seen.all = outage(seen.all);
        }
    }

    /// A connection was opened, to a server that takes no writes if `read_only`.
    pub fn succeeded(&self, read_only: bool) {
        let mut seen = self.seen();
        seen.all = None;
        if !read_only {
            seen.writes = None;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Outages> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn admit(seen: &mut Option<Outage>, budget: Duration) -> Admission {
    let Some(outage) = seen.as_mut() else {
        return Admission::Retry(budget);
    };
    if outage.last.elapsed() > FORGET_AFTER {
        *seen = None;
        return Admission::Retry(budget);
    }
    let rest = budget.saturating_sub(outage.spent);
    if rest >= WORTH_RETRYING {
        return Admission::Retry(rest);
    }
    if outage.last.elapsed() < REFUSE_FOR {
        return Admission::Refuse(outage.kind);
    }
    outage.last = Moment::now();
    Admission::Probe
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(8);

    #[test]
    fn a_spent_outage_refuses_and_names_what_it_saw() {
        let circuit = Circuit::default();
        assert_eq!(circuit.admit(Purpose::Read, BUDGET), Admission::Retry(BUDGET));
        circuit.failed(Moment::now(), Kind::Refused);
        assert_eq!(
            circuit.admit(Purpose::Read, Duration::ZERO),
            Admission::Refuse(Kind::Refused)
        );
    }

    #[test]
    fn the_rest_of_the_budget_is_still_spent_on_the_same_outage() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Starting);
        let Admission::Retry(rest) = circuit.admit(Purpose::Read, BUDGET) else {
            panic!("refused with most of the budget left");
        };
        assert!(rest <= BUDGET);
    }

    #[test]
    fn the_budget_is_one_outages_however_many_efforts_fail_in_it() {
        let circuit = Circuit::default();
        let first = Moment::now();
        circuit.failed(first, Kind::Refused);
        let (spent, second) = (Duration::from_millis(50), Moment::now());
        while second.elapsed() < spent {
            std::thread::yield_now();
        }
        circuit.failed(second, Kind::Refused);
        let Admission::Retry(rest) = circuit.admit(Purpose::Read, BUDGET) else {
            panic!("refused with most of the budget left");
        };
        assert!(rest <= BUDGET - spent, "{rest:?}");
    }

    #[test]
    fn frozen_time_is_not_spent() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Refused);
        let frozen = Moment::now();
        while frozen.elapsed() < Duration::from_millis(100) {
            std::thread::yield_now();
        }
        let Admission::Retry(rest) = circuit.admit(Purpose::Read, BUDGET) else {
            panic!("refused with most of the budget left");
        };
        assert!(rest > BUDGET - Duration::from_millis(50), "{rest:?}");
    }

    #[test]
    fn success_and_saturation_leave_no_outage() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Refused);
        circuit.succeeded(false);
        assert_eq!(circuit.admit(Purpose::Read, BUDGET), Admission::Retry(BUDGET));
        circuit.failed(Moment::now(), Kind::Saturated);
        assert_eq!(circuit.admit(Purpose::Read, BUDGET), Admission::Retry(BUDGET));
    }

    #[test]
    fn saturated_server_ends_an_outage() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Refused);
        assert_eq!(
            circuit.admit(Purpose::Read, Duration::ZERO),
            Admission::Refuse(Kind::Refused)
        );
        circuit.failed(Moment::now(), Kind::Saturated);
        assert_eq!(circuit.admit(Purpose::Read, BUDGET), Admission::Retry(BUDGET));
    }

    #[test]
    fn read_only_server_refuses_writes_and_admits_reads() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Refused);
        circuit.failed(Moment::now(), Kind::ReadOnly);
        let refused = Admission::Refuse(Kind::ReadOnly);
        let admit = |purpose| circuit.admit(purpose, Duration::ZERO);
        assert_eq!(admit(Purpose::Write), refused);
        assert_eq!(admit(Purpose::Read), Admission::Retry(Duration::ZERO));
        // A read's connection to a standby says nothing about writes.
        circuit.succeeded(true);
        assert_eq!(admit(Purpose::Write), refused);
        circuit.succeeded(false);
        assert_eq!(admit(Purpose::Write), Admission::Retry(Duration::ZERO));
    }

    #[test]
    fn outage_of_all_comes_before_one_of_writes() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::ReadOnly);
        circuit.failed(Moment::now(), Kind::Refused);
        for purpose in [Purpose::Read, Purpose::Write] {
            assert_eq!(circuit.admit(purpose, Duration::ZERO), Admission::Refuse(Kind::Refused));
        }
    }

    #[test]
    fn only_one_of_many_waiting_requests_probes() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Lost);
        // Once the refusals have lasted as long as they do, and long before the outage is forgotten.
        let since = Moment::now();
        while circuit.admit(Purpose::Read, Duration::ZERO) != Admission::Probe {
            assert!(since.elapsed() < FORGET_AFTER, "nobody probes");
            std::thread::yield_now();
        }
        assert_eq!(
            circuit.admit(Purpose::Read, Duration::ZERO),
            Admission::Refuse(Kind::Lost)
        );
    }
}
