//! Log lines: JSON, one per line, on standard output, where Lambda collects them.
//!
//! Every line within an invocation carries its request id and whether it was a cold start, from the span that
//! `http::run` opens. Invariants: never logs a secret; the driver's own lines are suppressed, because they show SQL.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Crates, by the beginning of their names, of which only warnings and errors are logged.
const QUIET: [&str; 8] = ["aws_", "h2", "hyper", "lambda_", "metrics", "rustls", "tokio", "tower"];

/// Starts logging at `level`. A second call does nothing.
pub fn init(level: Level) {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(true)
        .with_span_list(false)
        .with_ansi(false);
    let mut targets = Targets::new().with_default(level).with_target("sqlx", LevelFilter::OFF);
    targets.extend(QUIET.map(|crates| (crates, level.min(Level::WARN))));
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
}
