//! The steps of reaching a database, and how long each takes.

use std::time::Instant;

use super::cause::Cause;
use super::report::{Outcome, Report, Step};

/// The steps, in their order.
pub(super) const STEPS: [&str; 7] = [
    "parameters",
    "DNS",
    "TCP",
    "TLS",
    "authentication",
    "first query",
    "as a function",
];

/// Times a step in progress.
pub(super) struct StepTimer {
    step: &'static str,
    since: Instant,
}

impl StepTimer {
    pub(super) fn start(report: &Report) -> Self {
        let step = STEPS.get(report.steps.len()).copied().unwrap_or_default();
        Self {
            step,
            since: Instant::now(),
        }
    }

    pub(super) fn end(self, report: &mut Report, outcome: Outcome, detail: impl Into<String>) {
        report.steps.push(Step {
            step: self.step,
            outcome,
            took: (outcome != Outcome::Skipped).then(|| self.since.elapsed()),
            detail: detail.into(),
        });
    }

    pub(super) fn ok(self, report: &mut Report, detail: impl Into<String>) {
        self.end(report, Outcome::Ok, detail);
    }

    pub(super) fn fail(self, report: &mut Report, detail: impl Into<String>, cause: Cause) -> Cause {
        self.end(report, Outcome::Failed, detail);
        cause
    }

    pub(super) fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }
}
