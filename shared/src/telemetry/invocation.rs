//! The running invocation: its ids for every log line, and its counts for the line that ends it.
//!
//! A task-local value, so that the layers between an event and a statement need not pass it on. Outside an invocation,
//! in INIT for example, nothing is counted.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::task_local;

task_local! {
    static CURRENT: Invocation;
}

/// The running invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Lambda's request id.
    pub(crate) request_id: String,
    /// The trace of AWS X-Ray, without the segment.
    pub(crate) trace_id: Option<String>,
    /// Whether it is the first of its execution environment.
    pub(crate) cold_start: bool,
    counts: Cell<Counts>,
}

/// The database work of an invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The time from asking for a connection to the outcome, with all attempts and waits.
    pub(crate) database: Duration,
    /// Attempts to open a connection.
    pub(crate) connects: u32,
    /// Their time.
    pub(crate) connecting: Duration,
    /// Attempts at the work: each failed connect, and each time that its statement was sent.
    pub(crate) attempts: u32,
    /// Messages to the server whose answer was awaited, without those of connecting.
    pub(crate) round_trips: u32,
    /// Rows that the server returned.
    pub(crate) rows: u64,
    /// Connections that looked whether a late statement's session is alive.
    pub(crate) witnesses: u32,
}

impl Invocation {
    /// Creates an invocation; `header` is Lambda's trace header, such as `Root=1-…;Parent=…;Sampled=1`.
    pub(crate) fn new(request_id: String, header: Option<&str>, cold_start: bool) -> Self {
        let root = header.and_then(|header| header.split(';').find_map(|part| part.strip_prefix("Root=")));
        Self {
            request_id,
            trace_id: root.map(str::to_owned),
            cold_start,
            counts: Cell::default(),
        }
    }

    /// Runs `work` as this invocation.
    pub(crate) async fn run<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// Calls `show` with the running invocation, if there is one.
pub(crate) fn with<T>(show: impl FnOnce(&Invocation) -> T) -> Option<T> {
    CURRENT.try_with(show).ok()
}

/// Changes the counts of the running invocation, if there is one.
pub(crate) fn count(change: impl FnOnce(&mut Counts)) {
    with(|invocation| {
        let mut counts = invocation.counts.get();
        change(&mut counts);
        invocation.counts.set(counts);
    });
}

/// Returns the counts of the running invocation so far.
pub(crate) fn counts() -> Counts {
    with(|invocation| invocation.counts.get()).unwrap_or_default()
}

/// Adds the time until it is dropped to the time of the database.
#[derive(Debug)]
pub(crate) struct DatabaseTime(Instant);

impl DatabaseTime {
    /// Starts to measure.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Drop for DatabaseTime {
    fn drop(&mut self) {
        count(|counts| counts.database += self.0.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_is_the_header_root() {
        let trace = |header: Option<&str>| Invocation::new(String::new(), header, false).trace_id;
        let root = "1-5759e988-bd862e3fe1be46a994272793";
        let whole = format!("Root={root};Parent=53995c3f42cd8ad8;Sampled=1");
        assert_eq!(trace(Some(&whole)).as_deref(), Some(root));
        assert_eq!(trace(Some(&format!("Self=1-2;Root={root}"))).as_deref(), Some(root));
        assert_eq!(trace(Some("Sampled=0")), None);
        assert_eq!(trace(None), None);
    }

    #[tokio::test]
    async fn concurrent_invocations_count_apart() {
        let invocation = |rounds| {
            let work = async move {
                for _ in 0..rounds {
                    count(|counts| counts.round_trips += 1);
                    tokio::task::yield_now().await;
                }
                counts().round_trips
            };
            Invocation::new(String::new(), None, false).run(work)
        };
        assert_eq!(tokio::join!(invocation(3), invocation(5)), (3, 5));
        count(|counts| counts.round_trips += 1);
        assert_eq!(counts(), Counts::default());
    }
}
