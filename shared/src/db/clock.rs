//! Measures elapsed time correctly across a freeze.
//!
//! A frozen execution environment runs no code, and neither clock is reliable across a freeze: the monotonic one may
//! stop while the machine is suspended, and the wall clock may be adjusted. The larger of the two readings is the safe
//! answer to "how long has this connection been idle" and "how much time is left". Invariants: nothing here waits.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime};

/// A point in time, read on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// Returns the current time.
    pub(crate) fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Returns the moment that was `ago` before now.
    #[cfg(test)]
    pub(crate) fn past(ago: Duration) -> Self {
        Self {
            monotonic: Instant::now().checked_sub(ago).unwrap(),
            wall: SystemTime::now() - ago,
        }
    }

    /// Returns the time since this moment: the larger reading of the two clocks.
    pub(crate) fn elapsed(&self) -> Duration {
        let wall = self.wall.elapsed().unwrap_or_default();
        self.monotonic.elapsed().max(wall)
    }

    /// Returns whether this moment precedes `other`, by either clock.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.monotonic < other.monotonic || self.wall < other.wall
    }
}

/// Returns a random duration shorter than `bound`, so that environments do not act at the same time.
pub(crate) fn jitter(bound: Duration) -> Duration {
    // Seeded by the system for each thread, and different in each call.
    let random = RandomState::new().hash_one(()) >> 32;
    bound.mul_f64(random as f64 / 2_f64.powi(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_spreads_below_its_bound() {
        let drawn: Vec<_> = (0..200).map(|_| jitter(HOUR)).collect();
        assert!(drawn.iter().all(|drawn| *drawn < HOUR));
        assert!(drawn.iter().any(|drawn| *drawn < HOUR / 4));
        assert!(drawn.iter().any(|drawn| *drawn > HOUR / 4 * 3));
    }

    #[test]
    fn moments_order_by_either_clock() {
        let (earlier, later) = (Moment::now(), Moment::now());
        assert!(earlier.is_before(&later) && !later.is_before(&earlier));
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn freeze_counts_if_monotonic_stops() {
        let thawed = Moment {
            monotonic: Instant::now(),
            wall: SystemTime::now() - HOUR,
        };
        assert!(thawed.elapsed() >= HOUR);
    }

    #[test]
    fn wall_step_back_is_not_negative() {
        let stepped = Moment {
            monotonic: Instant::now() - HOUR,
            wall: SystemTime::now() + HOUR,
        };
        assert!(stepped.elapsed() >= HOUR);
    }
}
