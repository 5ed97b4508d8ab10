//! The deadline of an invocation, which limits every wait.
//!
//! Depends on: the Lambda context's deadline; a reserve is subtracted so that there is always time to answer.
//! Invariants: nothing here waits; callers ask how much time is left.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clock::Moment;

/// The functions' own timeout, assumed if an event has a deadline in the past: cargo-lambda's emulator sends one from
/// 1970. `template.yaml` sets the same number. With INIT's 3 s before it, it stays under the gateway's 30 s.
pub const FUNCTION_TIMEOUT: Duration = Duration::from_secs(26);

/// Reserved before the deadline to build, log and send an answer.
const RESERVE: Duration = Duration::from_millis(500);

/// Lambda's maximum timeout; a later deadline is implausible and ignored.
const MAX_LAMBDA_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The time by which an invocation must have answered.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    since: Moment,
    budget: Duration,
}

impl Deadline {
    /// Returns a deadline `budget` from now, without a reserve: for work outside an invocation.
    pub fn after(budget: Duration) -> Self {
        Self {
            since: Moment::now(),
            budget,
        }
    }

    /// Returns the deadline of an invocation, from the context's milliseconds since the Unix epoch, minus the reserve.
    pub fn of_invocation(epoch_ms: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(epoch_ms).saturating_sub(now);
        let left = if left.is_zero() {
            FUNCTION_TIMEOUT
        } else {
            left.min(MAX_LAMBDA_TIMEOUT)
        };
        // A function with a timeout of one second still needs most of it for its work.
        Self::after(left - RESERVE.min(left / 4))
    }

    /// Returns the time left; zero once the deadline has passed.
    pub fn left(&self) -> Duration {
        self.budget.saturating_sub(self.since.elapsed())
    }

    /// Returns whether no time is left.
    pub fn is_past(&self) -> bool {
        self.left().is_zero()
    }

    /// Returns the earlier of this deadline and `budget` from now.
    pub fn within(&self, budget: Duration) -> Self {
        Self::after(budget.min(self.left()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch_ms(at: SystemTime) -> u64 {
        u64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }

    #[test]
    fn deadline_of_1970_uses_own_timeout() {
        let left = Deadline::of_invocation(0).left();
        assert!(left > FUNCTION_TIMEOUT - Duration::from_secs(5), "{left:?}");
    }

    #[test]
    fn deadline_keeps_answer_reserve() {
        let at = SystemTime::now() + Duration::from_secs(10);
        let left = Deadline::of_invocation(epoch_ms(at)).left();
        assert!(left <= Duration::from_millis(9_500), "{left:?}");
    }

    #[test]
    fn reserve_spares_a_short_timeout() {
        for timeout in [400, 1_000] {
            let at = SystemTime::now() + Duration::from_millis(timeout);
            assert!(!Deadline::of_invocation(epoch_ms(at)).is_past(), "{timeout}");
        }
        assert!(Deadline::after(Duration::ZERO).is_past());
    }

    #[test]
    fn within_is_capped_by_deadline() {
        let deadline = Deadline::after(Duration::from_secs(1));
        assert!(deadline.within(Duration::from_secs(60)).left() <= Duration::from_secs(1));
    }
}
