//! Prevents an outage from costing every request its whole budget.
//!
//! The budget for getting a connection is counted per outage, not per request: a cold start that spent three seconds in
//! INIT leaves five to its first request. Once it is spent, requests are refused at once, and after a moment one of
//! them probes with a single attempt. A saturated server is not an outage, and ends one: slots become free, so every
//! request keeps retrying. A server that rejects writes is an outage of writes alone: reads continue. There is no
//! timer: the state is only evaluated when a connection is needed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Moment;
use super::connect::Purpose;
use super::kind::Kind;

/// How long requests are refused between probes: half of the second within which a returned database must be detected.
const REFUSE_FOR: Duration = Duration::from_millis(500);

/// An outage last seen longer ago is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// A remaining budget shorter than this is not enough for a retry loop.
const WORTH_RETRYING: Duration = Duration::from_secs(1);

/// The permission for a request that needs a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Retry for this long.
    Retry(Duration),
    /// Try once.
    Probe,
    /// Do not try: the outage's budget is spent.
    Refuse {
        /// The outage's last cause.
        kind: Kind,
        /// The time since its beginning.
        outage: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    /// When the first attempt that failed was begun.
    since: Moment,
    /// Time spent on connecting. A frozen environment spends none.
    spent: Duration,
    last: Moment,
    kind: Kind,
}

/// The last known state of this environment's database.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    outages: Mutex<Outages>,
}

#[derive(Debug, Default)]
struct Outages {
    /// No connection can be opened.
    all: Option<Outage>,
    /// Connections can be opened, but only to servers that reject writes.
    writes: Option<Outage>,
}

impl Circuit {
    /// Returns the permission for a request now, with `budget` for a whole outage. A returned probe counts as started.
    pub(super) fn admit(&self, purpose: Purpose, budget: Duration) -> Admission {
        let mut seen = self.seen();
        let all = admit(&mut seen.all, budget);
        // As far as is known, connections can be opened; the server may still reject writes.
        if purpose == Purpose::Write && seen.all.is_none() {
            return admit(&mut seen.writes, budget);
        }
        all
    }

    /// Returns whether connections could not be opened recently.
    pub(super) fn knows_outage(&self) -> bool {
        let all = self.seen().all;
        all.is_some_and(|outage| outage.last.elapsed() <= FORGET_AFTER)
    }

    /// Records that a retry loop or a probe, started at `since`, ended without a connection.
    pub(super) fn failed(&self, since: Moment, kind: Kind) {
        let mut seen = self.seen();
        let outage = |known: Option<Outage>| {
            Some(Outage {
                since: known.map_or(since, |outage| outage.since),
                spent: known.map_or(since.elapsed(), |outage| {
                    // Concurrent retry loops are counted once.
                    outage.spent + since.elapsed().min(outage.last.elapsed())
                }),
                last: Moment::now(),
                kind,
            })
        };
        if kind == Kind::Saturated {
            // The server responded, and slots become free.
            *seen = Outages::default();
        } else if kind == Kind::ReadOnly {
            seen.all = None;
            seen.writes = outage(seen.writes);
        } else {
            seen.all = outage(seen.all);
        }
    }

    /// Records that a connection was opened, to a server that rejects writes if `read_only`.
    pub(super) fn succeeded(&self, read_only: bool) {
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
        return Admission::Refuse {
            kind: outage.kind,
            outage: outage.since.elapsed(),
        };
    }
    outage.last = Moment::now();
    Admission::Probe
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(8);

    /// Returns the cause with which a request is refused.
    fn refused(circuit: &Circuit, purpose: Purpose) -> Option<Kind> {
        match circuit.admit(purpose, Duration::ZERO) {
            Admission::Refuse { kind, .. } => Some(kind),
            Admission::Retry(_) | Admission::Probe => None,
        }
    }

    #[test]
    fn spent_outage_refuses_with_cause() {
        let circuit = Circuit::default();
        assert_eq!(circuit.admit(Purpose::Read, BUDGET), Admission::Retry(BUDGET));
        circuit.failed(Moment::now(), Kind::Refused);
        assert_eq!(refused(&circuit, Purpose::Read), Some(Kind::Refused));
    }

    /// A second failure does not make the outage younger.
    #[test]
    fn outage_is_as_old_as_its_first_attempt() {
        let circuit = Circuit::default();
        let first = Moment::now();
        circuit.failed(first, Kind::Refused);
        while first.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        circuit.failed(Moment::now(), Kind::Starting);
        let Admission::Refuse { kind, outage } = circuit.admit(Purpose::Read, Duration::ZERO) else {
            panic!("tried with nothing left of the budget");
        };
        assert_eq!(kind, Kind::Starting);
        assert!(outage >= Duration::from_millis(20), "{outage:?}");
    }

    #[test]
    fn rest_of_budget_is_still_spent() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Starting);
        let Admission::Retry(rest) = circuit.admit(Purpose::Read, BUDGET) else {
            panic!("refused with most of the budget left");
        };
        assert!(rest <= BUDGET);
    }

    #[test]
    fn failed_loops_share_one_budget() {
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
    fn success_or_saturation_is_no_outage() {
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
        assert_eq!(refused(&circuit, Purpose::Read), Some(Kind::Refused));
        circuit.failed(Moment::now(), Kind::Saturated);
        assert_eq!(circuit.admit(Purpose::Read, BUDGET), Admission::Retry(BUDGET));
    }

    #[test]
    fn read_only_outage_admits_reads() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Refused);
        circuit.failed(Moment::now(), Kind::ReadOnly);
        let admit = |purpose| circuit.admit(purpose, Duration::ZERO);
        assert_eq!(refused(&circuit, Purpose::Write), Some(Kind::ReadOnly));
        assert_eq!(admit(Purpose::Read), Admission::Retry(Duration::ZERO));
        // A read's connection to a standby tells nothing about writes.
        circuit.succeeded(true);
        assert_eq!(refused(&circuit, Purpose::Write), Some(Kind::ReadOnly));
        circuit.succeeded(false);
        assert_eq!(admit(Purpose::Write), Admission::Retry(Duration::ZERO));
    }

    #[test]
    fn full_outage_precedes_write_outage() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::ReadOnly);
        circuit.failed(Moment::now(), Kind::Refused);
        for purpose in [Purpose::Read, Purpose::Write] {
            assert_eq!(refused(&circuit, purpose), Some(Kind::Refused));
        }
    }

    #[test]
    fn outage_is_known_until_success() {
        let circuit = Circuit::default();
        assert!(!circuit.knows_outage());
        circuit.failed(Moment::now(), Kind::Refused);
        assert!(circuit.knows_outage());
        circuit.succeeded(false);
        assert!(!circuit.knows_outage());
        // It can be read from.
        circuit.failed(Moment::now(), Kind::ReadOnly);
        assert!(!circuit.knows_outage());
    }

    #[test]
    fn one_waiting_request_probes() {
        let circuit = Circuit::default();
        circuit.failed(Moment::now(), Kind::Lost);
        // After the refusal period, and long before the outage is forgotten.
        let since = Moment::now();
        while circuit.admit(Purpose::Read, Duration::ZERO) != Admission::Probe {
            assert!(since.elapsed() < FORGET_AFTER, "no request probes");
            std::thread::yield_now();
        }
        assert_eq!(refused(&circuit, Purpose::Read), Some(Kind::Lost));
    }
}
