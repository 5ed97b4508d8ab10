//! Shows a step of the start to the developer: its description, its outcome, and how long it took.

use std::io::{Write as _, stdout};
use std::time::Instant;

/// A step in progress: one line, finished by [`Step::done`]. If it is dropped before, the line ends where it is.
#[derive(Debug)]
pub(crate) struct Step {
    since: Instant,
    open: bool,
}

impl Step {
    /// Prints what begins. Nothing else may be printed before the step ends.
    pub(crate) fn begin(what: &str) -> Self {
        // A closed terminal is no reason to stop.
        let _ = write!(stdout(), "{what} … ").and_then(|()| stdout().flush());
        Self {
            since: Instant::now(),
            open: true,
        }
    }

    /// Prints what begins on a line of its own, because what follows writes to the terminal too.
    pub(crate) fn announce(what: &str) -> Self {
        let _ = writeln!(stdout(), "{what}");
        Self {
            since: Instant::now(),
            open: false,
        }
    }

    /// Prints the outcome.
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
