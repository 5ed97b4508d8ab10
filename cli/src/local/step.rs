//! A step of the start as the developer sees it: what is being done, what came of it, how long it took.

use std::io::{Write as _, stdout};
use std::time::Instant;

/// A step under way: one line, finished by [`Step::done`]. Dropped before that, the line ends where it is.
#[derive(Debug)]
pub(crate) struct Step {
    since: Instant,
    open: bool,
}

impl Step {
    /// Says what begins. Nothing else may be printed before the step ends.
    pub(crate) fn begin(what: &str) -> Self {
        // A terminal that has gone is no reason to stop.
        let _ = write!(stdout(), "{what} … ").and_then(|()| stdout().flush());
        Self {
            since: Instant::now(),
            open: true,
        }
    }

    /// Says what came of it.
    pub(crate) fn done(mut self, outcome: &str) {
        self.open = false;
        let _ = writeln!(stdout(), "{outcome} ({:.1} s)", self.since.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.open {
            let _ = writeln!(stdout());
        }
    }
}
