//! The requests and answers of a scenario with their times: the record for the oracle and the report.
//!
//! Invariants: judges nothing; entries are added in the order of their answers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The expected answer.
    Served(u16),
    /// 503 that states that nothing was changed.
    Refused,
    /// 503 `commit-unknown`.
    Unknown,
    /// An answer that the contract forbids; the text describes it.
    Broken(String),
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The invoked function.
    pub function: String,
    /// The number of this attempt at the same request, from 1.
    pub attempt: u32,
    /// When it was sent, from the start of the record.
    pub sent: Duration,
    /// The time until its answer.
    pub took: Duration,
    /// The answer.
    pub seen: Seen,
    /// Whether INIT ran for it.
    pub cold: bool,
}

impl Entry {
    /// Returns when its answer arrived, from the start of the record.
    pub fn answered(&self) -> Duration {
        self.sent + self.took
    }
}

/// The time during which a fault was in force.
#[derive(Clone, Debug)]
pub struct Span {
    /// The fault.
    pub fault: String,
    /// From the start of the record.
    pub from: Duration,
    /// The same as `from` for instant faults.
    pub to: Duration,
}

/// The record of one scenario.
#[derive(Debug)]
pub(super) struct History {
    begun: Instant,
    entries: Mutex<Vec<Entry>>,
    spans: Mutex<Vec<Span>>,
    count: watch::Sender<usize>,
}

impl History {
    /// Creates an empty record that starts now.
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            entries: Mutex::default(),
            spans: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// Returns the time since the start.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(super) fn add(&self, entry: Entry) {
        lock(&self.entries).push(entry);
        self.count.send_modify(|count| *count += 1);
    }

    pub(super) fn add_span(&self, fault: String, from: Duration, to: Duration) {
        lock(&self.spans).push(Span { fault, from, to });
    }

    /// Waits until this many requests have been answered. Cancel safe.
    pub(super) async fn answered(&self, count: usize) {
        // The sender is a field of `self`, so this cannot fail while `self` is borrowed.
        let _ = self.count.subscribe().wait_for(|now| *now >= count).await;
    }

    /// Returns how many requests have been answered.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Returns all entries so far.
    pub(super) fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).clone()
    }

    /// Returns the faults so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        lock(&self.spans).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
