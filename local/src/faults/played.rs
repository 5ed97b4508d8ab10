//! What a scenario came to: the record and the verdict, held against what was expected.

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

/// What a scenario came to.
#[derive(Clone, Debug)]
pub struct Played {
    /// The scenario's name.
    pub name: &'static str,
    /// What happened, in a sentence.
    pub about: &'static str,
    /// Every request and its answer, without those that set the scene.
    pub entries: Vec<Entry>,
    /// When each fault was in force.
    pub spans: Vec<Span>,
    /// What the tables say.
    pub verdict: Verdict,
    /// Figures that were not reached.
    pub missed: Vec<String>,
    /// From the last fault's end to the first success after it.
    pub recovery: Option<Duration>,
    /// Of a burst: the slowest first answer of an environment.
    pub cold: Option<Duration>,
    /// Connections that the database had taken, at their most.
    pub peak: usize,
    /// Connections that were opened.
    pub opened: u64,
    /// Log-ins that served no request: connections that were opened and ran no statement of a function. A client that gives up
    /// before its log-in is complete has cost the server most of one, so it is counted.
    pub wasted: u64,
}

impl Played {
    /// Entries with the answer that was asked for.
    pub fn served(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Served(_)))
    }

    /// Entries with `commit-unknown`.
    pub fn unknown(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Unknown))
    }

    /// Entries with a 503 of ours.
    pub fn refused(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Refused | Seen::Unknown))
    }

    /// Entries with no answer that the contract knows.
    pub fn broken(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Broken(_)))
    }

    /// The slowest answer.
    pub fn slowest(&self) -> Duration {
        self.entries.iter().map(|entry| entry.took).max().unwrap_or_default()
    }

    fn count(&self, of: impl Fn(&Seen) -> bool) -> usize {
        self.entries.iter().filter(|entry| of(&entry.seen)).count()
    }

    /// When the last fault that was in force for a while was over.
    fn end(&self) -> Option<Duration> {
        let lasting = self.spans.iter().filter(|span| span.to > span.from);
        lasting.map(|span| span.to).max()
    }

    /// From the last fault's end to the first success answered after it: of a write, where there are any.
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

    /// `health` says "down" with a 503, which is the right answer to an outage and to nothing else.
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
                wrong.push(format!("{cuts} requests were struck instead of {wanted}"));
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
