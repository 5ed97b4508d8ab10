//! What was asked and what came back, with times: the record that the oracle and the report read.
//!
//! May not judge; entries are added in the order of their answers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What came back for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The answer that was asked for.
    Served(u16),
    /// 503 that says nothing was changed.
    Refused,
    /// 503 `commit-unknown`.
    Unknown,
    /// Nothing a client may ever get; the text says what it was.
    Broken(String),
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The function that was invoked.
    pub function: String,
    /// Which try of the same request this was, from 1.
    pub attempt: u32,
    /// When it was sent, from the beginning of the record.
    pub sent: Duration,
    /// Until its answer.
    pub took: Duration,
    /// What came back.
    pub seen: Seen,
    /// Whether INIT ran for it.
    pub cold: bool,
}

impl Entry {
    /// When its answer came, from the beginning of the record.
    pub fn answered(&self) -> Duration {
        self.sent + self.took
    }
}

/// When a fault was in force.
#[derive(Clone, Debug)]
pub struct Span {
    /// The fault.
    pub fault: String,
    /// From the beginning of the record.
    pub from: Duration,
    /// The same as `from` for what strikes and is over.
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
    /// An empty record that begins now.
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            entries: Mutex::default(),
            spans: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// Time since the beginning.
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
        // The sender is a field of ours, so this cannot fail while `self` is borrowed.
        let _ = self.count.subscribe().wait_for(|now| *now >= count).await;
    }

    /// How many requests have been answered.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Everything so far.
    pub(super) fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).clone()
    }

    /// The faults so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        lock(&self.spans).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
