//! Log lines: JSON, one a line, on standard output, where Lambda collects them.
//!
//! Every line within an invocation carries its request id and whether it was a cold start, from the span that
//! `http::run` opens. Nothing here may log a secret; the driver's own lines are kept out, because they show SQL.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging at `level`. A second call does nothing.
pub fn init(level: Level) {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(true)
        .with_span_list(false)
        .with_ansi(false);
    // The runtime's and the driver's warnings are worth a line, their chatter is not.
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("sqlx", LevelFilter::OFF)
        .with_target("shared", level);
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
}
