//! The only place that decides when to retry: attempts, back-off, budget.
//!
//! Depends on: `backoff` for the intervals. The crate is unmaintained (RUSTSEC-2025-0012), so only this file uses it;
//! `backon` is the replacement. `classify` decides what is retried, and the deadline for how long.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio::time::sleep;

use super::clock::Moment;
use super::deadline::Deadline;
use super::error::Error;
use crate::config::RetryConfig;
use crate::telemetry::count;

/// The wait between attempts, by operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy {
    /// Opening a connection to a server that does not respond correctly.
    Connect,
    /// Opening a connection while every slot is in use: the wait is long from the start and hardly grows. Each attempt
    /// costs the server a process, and slots become free all the time.
    Saturated,
    /// Opening a connection to a writer while the servers reject writes: a failover takes seconds, and is found soon;
    /// a server that stays read-only is asked less and less often.
    ReadOnly,
    /// A read, run again.
    Read,
    /// A transaction, run again.
    Write,
}

impl Policy {
    /// Returns the maximum number of attempts. Connecting is limited by its budget alone: a restart lasts seconds,
    /// regardless of the number of attempts.
    fn most(self, config: &RetryConfig) -> u32 {
        match self {
            Self::Connect | Self::Saturated | Self::ReadOnly => u32::MAX,
            Self::Read | Self::Write => config.max_attempts,
        }
    }

    /// Returns the smallest and the largest upper bound of one wait.
    fn bounds(self, base: Duration) -> (Duration, Duration) {
        match self {
            Self::Connect => (base, Duration::from_millis(500)),
            Self::Saturated => (Duration::from_secs(1), Duration::from_secs(2)),
            Self::ReadOnly => (base, Duration::from_secs(2)),
            Self::Read | Self::Write => (base, Duration::from_secs(1)),
        }
    }
}

/// An attempt with less time than this would only time out.
const WORTH_TRYING: Duration = Duration::from_millis(100);

/// A retry loop: attempts are 1-based, waits have full jitter, and none extends past the deadline.
#[derive(Debug)]
pub(super) struct RetryLoop {
    deadline: Deadline,
    since: Moment,
    attempt: u32,
    /// How often the work was sent, and how many connects failed before it could be.
    tried: u32,
    most: u32,
    base: Duration,
    waits: ExponentialBackoff,
    reconnected: bool,
}

impl RetryLoop {
    /// Creates a retry loop that ends with `deadline`, at its first attempt.
    pub(super) fn new(policy: Policy, config: &RetryConfig, deadline: Deadline) -> Self {
        Self {
            deadline,
            since: Moment::now(),
            attempt: 1,
            tried: 0,
            most: policy.most(config),
            base: config.base_delay,
            waits: waits(policy, config.base_delay),
            reconnected: false,
        }
    }

    /// Returns the number of the current attempt.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the time since the first attempt started.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Counts that the work is sent.
    pub(super) fn sending(&mut self) {
        self.tried += 1;
        count(|counts| counts.attempts += 1);
    }

    /// Counts failed connects, each of which was an attempt at the work.
    pub(super) fn add_failed_connects(&mut self, attempts: u32) {
        self.tried += attempts;
    }

    /// Returns the loop's last failure, with the attempts and the time of the whole loop.
    pub(super) fn spent(&self, error: Error) -> Error {
        error.after(self.tried, self.elapsed())
    }

    /// Changes the policy of the following waits, for a cause that another policy fits better.
    pub(super) fn follow(&mut self, policy: Policy) {
        self.waits = waits(policy, self.base);
    }

    /// Returns true at the first call: for failures that only a fresh connection can resolve.
    pub(super) fn first_reconnect(&mut self) -> bool {
        !std::mem::replace(&mut self.reconnected, true)
    }

    /// Starts the next attempt without a wait. Returns false if attempts or time are exhausted.
    pub(super) fn next_attempt_at_once(&mut self) -> bool {
        let another = self.attempt < self.most && self.deadline.left() > WORTH_TRYING;
        self.attempt += u32::from(another);
        another
    }

    /// Waits for the next attempt. Returns false, at once, if attempts or time are exhausted.
    pub(super) async fn next_attempt(&mut self) -> bool {
        if self.attempt >= self.most {
            return false;
        }
        // Without a maximum elapsed time the crate always returns an interval.
        let wait = self.waits.next_backoff().unwrap_or_default();
        // An attempt that the deadline interrupts is less informative than the failure before it.
        if wait + WORTH_TRYING >= self.deadline.left() {
            return false;
        }
        sleep(wait).await;
        self.attempt += 1;
        true
    }
}

/// The crate draws from [i − f·i, i + f·i]; with f = 1 and half the bound as i that is full jitter, [0, bound].
fn waits(policy: Policy, base: Duration) -> ExponentialBackoff {
    let (first, longest) = policy.bounds(base);
    let mut waits = ExponentialBackoff {
        initial_interval: first.min(longest) / 2,
        max_interval: longest / 2,
        multiplier: 2.0,
        randomization_factor: 1.0,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    waits.current_interval = waits.initial_interval;
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::kind::{Kind, Phase};

    fn config(max_attempts: u32) -> RetryConfig {
        RetryConfig {
            max_attempts,
            base_delay: Duration::from_millis(1),
        }
    }

    /// Returns a loop that no deadline ends.
    fn unhurried(policy: Policy, max_attempts: u32) -> RetryLoop {
        RetryLoop::new(policy, &config(max_attempts), Deadline::after(Duration::from_secs(60)))
    }

    #[tokio::test]
    async fn attempts_stop_at_the_maximum() {
        let mut effort = unhurried(Policy::Read, 3);
        assert_eq!(effort.attempt(), 1);
        assert!(effort.next_attempt().await);
        assert!(effort.next_attempt().await);
        assert_eq!(effort.attempt(), 3);
        assert!(!effort.next_attempt().await, "a fourth attempt was allowed");
    }

    #[tokio::test]
    async fn wait_past_deadline_is_not_begun() {
        let deadline = Deadline::after(Duration::ZERO);
        let mut effort = RetryLoop::new(Policy::Write, &config(5), deadline);
        assert!(!effort.next_attempt().await);
    }

    #[test]
    fn attempts_at_once_stop_at_the_maximum() {
        let mut effort = unhurried(Policy::Read, 2);
        assert!(effort.next_attempt_at_once());
        assert_eq!(effort.attempt(), 2);
        assert!(!effort.next_attempt_at_once(), "a third attempt was allowed");
        assert_eq!(effort.attempt(), 2);
        let mut late = RetryLoop::new(Policy::Read, &config(2), Deadline::after(WORTH_TRYING));
        assert!(!late.next_attempt_at_once(), "begun when it could only time out");
    }

    #[test]
    fn fresh_connection_is_tried_once() {
        let mut effort = unhurried(Policy::Read, 5);
        assert!(effort.first_reconnect());
        assert!(!effort.first_reconnect() && !effort.first_reconnect());
    }

    #[test]
    fn failure_counts_sends_and_connects() {
        let mut effort = unhurried(Policy::Read, 5);
        effort.sending();
        effort.add_failed_connects(3);
        effort.sending();
        while effort.since.elapsed() < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        let failure = effort.spent(Error::bare(Kind::Lost, Phase::Statement));
        assert_eq!(failure.attempts, 5);
        assert!(failure.elapsed >= Duration::from_millis(2));
    }

    #[test]
    fn other_policy_changes_the_waits() {
        let mut effort = unhurried(Policy::Connect, 5);
        effort.follow(Policy::Saturated);
        let drawn = (0..50).filter_map(|_| effort.waits.next_backoff());
        assert!(drawn.max() > Some(Policy::Connect.bounds(effort.base).1));
    }

    #[test]
    fn backoff_doubles_without_end() {
        let mut waits = waits(Policy::Write, Duration::from_millis(50));
        let mut bounds = Vec::new();
        for _ in 0..7 {
            bounds.push(2 * waits.current_interval.as_millis());
            assert!(waits.next_backoff().is_some());
        }
        assert_eq!(bounds, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(waits.max_elapsed_time, None);
    }

    #[test]
    fn backoff_stays_within_bound() {
        for policy in [
            Policy::Connect,
            Policy::Saturated,
            Policy::ReadOnly,
            Policy::Read,
            Policy::Write,
        ] {
            let base = Duration::from_millis(50);
            let (first, longest) = policy.bounds(base);
            let mut waits = waits(policy, base);
            assert!(waits.next_backoff().unwrap() <= first);
            for _ in 0..100 {
                assert!(waits.next_backoff().unwrap() <= longest, "{policy:?}");
            }
        }
    }

    #[test]
    fn backoff_jitters_down_to_zero() {
        let mut waits = waits(Policy::Saturated, Duration::from_millis(50));
        let drawn: Vec<_> = (0..200).map(|_| waits.next_backoff().unwrap()).collect();
        assert!(drawn.iter().any(|wait| *wait < Duration::from_millis(250)));
        assert!(drawn.iter().any(|wait| *wait > Duration::from_millis(750)));
    }
}
