//! How much of an execution environment one caller may use, so that a busy one leaves room for others.
//!
//! An environment usually answers one request at a time, so all other callers wait meanwhile. Each caller has an
//! account: a request adds the time that it took, and a microsecond for each byte of its body. As time passes, the
//! caller's share of it is subtracted. While the account is above the environment's burst, requests are refused.
//!
//! Invariants: the account is in memory, so it costs no round trip and no row, and one caller's accounts in other
//! environments are separate. A request without a caller is not limited. Depends on: `db::clock`, because an
//! environment is frozen between requests. docs/decisions/0010 has the alternatives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::db::clock::{Moment, jitter};

/// The largest burst: the time that a caller may use before the share limits them. Each environment draws its own burst
/// between half of this and all of it. With the same burst, all environments would refuse a busy caller at the same
/// moments, and serve them at the others, when no other caller gets through.
const BURST: Duration = Duration::from_secs(2);

/// The time that is charged for a byte of a body: about a second for 1 MiB.
const PER_BYTE: Duration = Duration::from_micros(1);

/// The most that is charged for the time of one request, because a caller does not cause a slow database or an outage.
const LONGEST: Duration = Duration::from_secs(1);

/// The most accounts that are kept, so that a caller with many subjects cannot fill the memory.
const MOST_ACCOUNTS: usize = 1_000;

/// The accounts of an environment's callers.
#[derive(Debug)]
pub(super) struct Shares {
    /// The zero of the accounts' times.
    begun: Moment,
    /// The part of the time that passes that each caller may use. It can be above 1 if the environment answers several
    /// requests at once.
    share: f64,
    /// Requests are refused while the account is above this.
    burst: Duration,
    accounts: Mutex<HashMap<String, Account>>,
}

/// The time that a caller has used, less its share of the time that passed, as of `at`.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    used: Duration,
    at: Duration,
}

impl Shares {
    /// Creates the accounts of an environment that answers `requests` at once. Returns `None` if there is no limit, at
    /// 100 percent.
    pub(super) fn new(percent: u32, requests: usize) -> Option<Self> {
        Self::with_burst(percent, requests, BURST - jitter(BURST / 2))
    }

    fn with_burst(percent: u32, requests: usize, burst: Duration) -> Option<Self> {
        (percent < 100).then(|| Self {
            begun: Moment::now(),
            share: f64::from(percent) / 100.0 * requests as f64,
            burst,
            accounts: Mutex::default(),
        })
    }

    /// Admits a request whose body has this many bytes.
    ///
    /// # Errors
    /// Fails with the time to wait if the caller's account is above the burst.
    pub(super) fn admit(&self, caller: &str, bytes: usize) -> Result<(), Duration> {
        self.admit_at(caller, bytes, self.begun.elapsed())
    }

    /// Adds the time that an admitted request took.
    pub(super) fn charge(&self, caller: &str, took: Duration) {
        self.charge_at(caller, took, self.begun.elapsed());
    }

    fn admit_at(&self, caller: &str, bytes: usize, now: Duration) -> Result<(), Duration> {
        self.change(caller, now, |account, share| {
            let Some(over) = account.used.checked_sub(self.burst).filter(|over| !over.is_zero()) else {
                account.used += PER_BYTE * u32::try_from(bytes).unwrap_or(u32::MAX);
                return Ok(());
            };
            Err(over.div_f64(share))
        })
    }

    fn charge_at(&self, caller: &str, took: Duration, now: Duration) {
        self.change(caller, now, |account, _| account.used += took.min(LONGEST));
    }

    /// Brings a caller's account up to date, and changes it.
    fn change<T>(&self, caller: &str, now: Duration, change: impl FnOnce(&mut Account, f64) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= MOST_ACCOUNTS && !accounts.contains_key(caller) {
            accounts.retain(|_, account| !account.as_of(now, self.share).used.is_zero());
            if accounts.len() >= MOST_ACCOUNTS {
                accounts.clear();
            }
        }
        let account = accounts.entry(caller.to_owned()).or_default();
        *account = account.as_of(now, self.share);
        change(account, self.share)
    }
}

impl Account {
    fn as_of(self, now: Duration, share: f64) -> Self {
        let passed = now.saturating_sub(self.at).mul_f64(share);
        Self {
            used: self.used.saturating_sub(passed),
            at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A fleet on a simulated clock: Lambda gives a request to the first environment that is free, and rejects it if none
    /// is.
    struct Fleet {
        environments: Vec<(Option<Shares>, Duration)>,
        now: Duration,
    }

    impl Fleet {
        fn new(percent: u32) -> Self {
            // Evenly, as they are on average.
            let burst = |number: u32| BURST - BURST / 2 * number / 8;
            let environments = (0..8).map(|number| (Shares::with_burst(percent, 1, burst(number)), Duration::ZERO));
            Self {
                environments: environments.collect(),
                now: Duration::ZERO,
            }
        }

        /// Sends a request that takes `takes`; returns whether it was served.
        fn send(&mut self, caller: &str, takes: Duration) -> bool {
            let now = self.now;
            let free = self.environments.iter_mut().find(|(_, busy)| *busy <= now);
            let Some((shares, busy)) = free else {
                return false;
            };
            let admitted = shares
                .as_ref()
                .is_none_or(|shares| shares.admit_at(caller, 0, now).is_ok());
            if let Some(shares) = shares.as_ref().filter(|_| admitted) {
                shares.charge_at(caller, takes, now + takes);
            }
            *busy = now + if admitted { takes } else { MS };
            admitted
        }
    }

    /// Counts how many of 16 requests of another caller, one each second, are served while one sends 60 a second. Each
    /// takes this long.
    fn served_of_16(percent: u32, takes: Duration) -> usize {
        let mut fleet = Fleet::new(percent);
        let mut served = 0;
        let mut next = 0_u32;
        for tick in 0..16_000 {
            fleet.now = MS * tick;
            if u128::from(next) * 1_000 <= fleet.now.as_millis() * 60 {
                fleet.send("busy", takes);
                next += 1;
            }
            // Not in step with the other.
            if tick % 1_000 == 507 {
                served += usize::from(fleet.send("other", takes));
            }
        }
        served
    }

    #[test]
    fn busy_caller_leaves_half_to_others() {
        for takes in [150, 300, 600, 1_000].map(Duration::from_millis) {
            let without = served_of_16(100, takes);
            assert!(without <= 2, "{takes:?}: the fleet is not busy: {without}");
            let with = served_of_16(50, takes);
            assert!(with >= 10, "{takes:?}: {with} of 16");
        }
    }

    #[test]
    fn bytes_count_as_time() {
        let shares = Shares::with_burst(50, 1, BURST).unwrap();
        let mut admitted = 0;
        while shares.admit_at("a", 1_000_000, Duration::ZERO).is_ok() {
            admitted += 1;
        }
        assert_eq!(admitted, 3);
        assert_eq!(shares.admit_at("a", 0, Duration::ZERO), Err(MS * 2_000));
        assert_eq!(shares.admit_at("b", 0, Duration::ZERO), Ok(()));
        assert_eq!(shares.admit_at("a", 0, MS * 2_000), Ok(()));
    }

    /// A database that answers each request at its deadline must not lead to 429 afterwards.
    #[test]
    fn slow_database_is_not_charged() {
        let shares = Shares::with_burst(50, 1, BURST).unwrap();
        for request in 1..100 {
            let end = Duration::from_secs(26) * request;
            shares.admit_at("a", 1_000, end - Duration::from_secs(26)).unwrap();
            shares.charge_at("a", Duration::from_secs(26), end);
        }
    }

    #[test]
    fn accounts_are_bounded() {
        let shares = Shares::with_burst(50, 1, BURST).unwrap();
        for number in 0..3 * MOST_ACCOUNTS {
            shares.charge_at(&number.to_string(), MS, Duration::ZERO);
        }
        assert!(shares.accounts.lock().unwrap().len() <= MOST_ACCOUNTS);
    }
}
