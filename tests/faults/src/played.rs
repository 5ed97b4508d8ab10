//! The result of a scenario: the record and the verdict, compared with the expectations.

use std::time::Duration;

use super::history::{Entry, Seen, Span};
use super::oracle::Verdict;
use super::scenario::Expectation;

/// Functions that change nothing.
const READS: [&str; 7] = [
    "health",
    "meetings-changes",
    "meetings-get",
    "meetings-list",
    "tasks-all",
    "tasks-list",
    "users-me",
];

/// The result of a scenario.
#[derive(Clone, Debug)]
pub struct Played {
    /// The scenario's name.
    pub name: &'static str,
    /// A description, in a sentence.
    pub about: &'static str,
    /// Every request and its answer, without those of the setup.
    pub entries: Vec<Entry>,
    /// When each fault was in force.
    pub spans: Vec<Span>,
    /// The oracle's verdict.
    pub verdict: Verdict,
    /// Figures that were not reached.
    pub missed: Vec<String>,
    /// From the last fault's end to the first success after it.
    pub recovery: Option<Duration>,
    /// In a burst: the slowest first answer of an environment.
    pub cold: Option<Duration>,
    /// The maximum number of sessions at the database.
    pub peak: usize,
    /// Connections that were opened.
    pub opened: u64,
    /// Log-ins that served no request: connections that were opened and ran no statement of a function. A client that
    /// gives up before its log-in is complete has cost the server most of one, so it is counted.
    pub wasted: u64,
}

impl Played {
    /// Returns the result of an invented scenario: these answers, without a fault.
    #[cfg(test)]
    pub(super) fn example(entries: Vec<Entry>) -> Self {
        Self {
            name: "one",
            about: "It <breaks>.",
            entries,
            spans: Vec::new(),
            verdict: Verdict::default(),
            missed: Vec::new(),
            recovery: None,
            cold: None,
            peak: 3,
            opened: 3,
            wasted: 0,
        }
    }

    /// Counts the entries with the expected answer.
    pub fn served(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Served(_)))
    }

    /// Counts the entries with `commit-unknown`.
    pub fn unknown(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Unknown))
    }

    /// Counts the entries with a 503 of the functions.
    pub fn refused(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Refused | Seen::Unknown))
    }

    /// Counts the entries with an answer that the contract forbids.
    pub fn broken(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Broken(_)))
    }

    /// Returns the duration of the slowest answer.
    pub fn slowest(&self) -> Duration {
        self.entries.iter().map(|entry| entry.took).max().unwrap_or_default()
    }

    fn count(&self, of: impl Fn(&Seen) -> bool) -> usize {
        self.entries.iter().filter(|entry| of(&entry.seen)).count()
    }

    /// Returns the end of the last fault that was in force for a while.
    fn end(&self) -> Option<Duration> {
        let lasting = self.spans.iter().filter(|span| span.to > span.from);
        lasting.map(|span| span.to).max()
    }

    /// Returns the time from the last fault's end to the first success answered after it: of a write, if there are any.
    pub(super) fn recovered(&self) -> Option<Duration> {
        let end = self.end()?;
        let is_write = |entry: &&Entry| !READS.contains(&&*entry.function);
        let writes = self.entries.iter().any(|entry| is_write(&entry));
        self.entries
            .iter()
            .filter(|entry| !writes || is_write(entry))
            .filter(|entry| matches!(entry.seen, Seen::Served(_)) && entry.answered() >= end)
            .map(|entry| entry.answered() - end)
            .min()
    }

    /// `health` reports "down" with a 503, which is only correct during an outage.
    pub(super) fn hold_health_against_the_faults(&mut self, late: Duration) {
        let met = |entry: &Entry| {
            self.spans
                .iter()
                .any(|span| entry.sent <= span.to + late && entry.answered() >= span.from)
        };
        let lies = self
            .entries
            .iter()
            .filter(|entry| entry.seen == Seen::Served(503) && !met(entry));
        let lies = lies.count();
        if lies > 0 {
            let text = format!("health said {lies} times that the database is down, and no fault was in force");
            self.verdict.wrong.push(text);
        }
    }

    pub(super) fn hold_against(&mut self, expectation: Expectation, cuts: u64) {
        let (refused, broken, slowest) = (self.refused(), self.broken(), self.slowest());
        let (unknown, end) = (self.unknown(), self.end().unwrap_or_default());
        let reads = self.entries.iter().filter(|entry| READS.contains(&&*entry.function));
        let refused_reads = reads.filter(|entry| !matches!(entry.seen, Seen::Served(_))).count();
        let wrong = &mut self.verdict.wrong;
        match expectation {
            Expectation::NothingRefused if refused + broken > 0 => {
                wrong.push(format!(
                    "{refused} requests were refused, {broken} broken: none was to be"
                ));
            }
            Expectation::SomethingRefused if refused + broken == 0 => {
                wrong.push("nothing was refused: the fault was not met".to_owned());
            }
            Expectation::SomethingUnknown if unknown == 0 => {
                wrong.push("no commit was unknown: the fault was not met".to_owned());
            }
            Expectation::Connections(wanted) if self.opened != wanted => {
                wrong.push(format!("{} connections were opened instead of {wanted}", self.opened));
            }
            Expectation::Cuts(wanted) if cuts != wanted => {
                wrong.push(format!("{cuts} requests were cut instead of {wanted}"));
            }
            Expectation::ConnectionsAtMost(wanted) if self.opened > wanted => {
                wrong.push(format!("{} connections were opened, more than {wanted}", self.opened));
            }
            Expectation::WastedLogins(wanted) if self.wasted > wanted => {
                wrong.push(format!(
                    "{} of {} log-ins served no request, more than {wanted}",
                    self.wasted, self.opened
                ));
            }
            Expectation::ReadsServed if refused_reads > 0 => {
                wrong.push(format!("{refused_reads} reads were refused: none was to be"));
            }
            Expectation::Within(wanted) if slowest > wanted => {
                self.missed.push(format!(
                    "the slowest answer took {slowest:.2?}, and {wanted:.0?} was wanted"
                ));
            }
            Expectation::ColdWithin(wanted) if self.cold.is_none_or(|cold| cold > wanted) => {
                self.missed.push(format!(
                    "the slowest first answer took {:.2?}, and {wanted:.0?} was wanted",
                    self.cold
                ));
            }
            Expectation::RecoversWithin(wanted) => {
                if self.recovery.is_none_or(|recovery| recovery > wanted) {
                    self.missed.push(format!(
                        "recovered in {:.0?}, and {wanted:.0?} was wanted",
                        self.recovery
                    ));
                }
                let late = self.entries.iter().filter(|entry| entry.sent > end + wanted);
                let late = late.filter(|entry| !matches!(entry.seen, Seen::Served(_))).count();
                if late > 0 {
                    self.missed.push(format!(
                        "{late} requests were refused that were sent over {wanted:.0?} after the end"
                    ));
                }
            }
            Expectation::NothingRefused
            | Expectation::SomethingRefused
            | Expectation::SomethingUnknown
            | Expectation::ReadsServed
            | Expectation::Connections(_)
            | Expectation::ConnectionsAtMost(_)
            | Expectation::WastedLogins(_)
            | Expectation::Cuts(_)
            | Expectation::Within(_)
            | Expectation::ColdWithin(_) => {}
        }
    }
}
