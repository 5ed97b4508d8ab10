//! Log lines: JSON, one per line, on standard output, where Lambda collects them.
//!
//! Every line has the service and the function, and within an invocation its ids and whether it was a cold start, under
//! the names that AWS's Powertools use. Invariants: never logs a secret; the driver's own lines are suppressed, because
//! they show SQL.

mod invocation;

use std::fmt;
use std::io;

use serde::ser::{SerializeMap as _, Serializer as _};
use tracing::{Event, Level, Subscriber};
use tracing_serde::SerdeMapVisitor;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) use invocation::{Counts, DatabaseTime, Invocation, count, counts};

/// Crates, by the beginning of their names, of which only warnings and errors are logged.
const QUIET: [&str; 8] = ["aws_", "h2", "hyper", "lambda_", "metrics", "rustls", "tokio", "tower"];

/// Starts logging at `level`, as `function` of `service`. A second call does nothing.
pub fn init(level: Level, service: &'static str, function: &str) {
    let function = function.to_owned();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { service, function })
        .with_ansi(false);
    let mut targets = Targets::new().with_default(level).with_target("sqlx", LevelFilter::OFF);
    targets.extend(QUIET.map(|crates| (crates, level.min(Level::WARN))));
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
}

/// The format of a line: one flat object.
struct Lines {
    service: &'static str,
    function: String,
}

impl Lines {
    fn write(&self, to: impl io::Write, time: &str, event: &Event<'_>) -> Result<(), serde_json::Error> {
        let mut serializer = serde_json::Serializer::new(to);
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", time)?;
        line.serialize_entry("level", event.metadata().level().as_str())?;
        let mut fields = SerdeMapVisitor::new(line);
        event.record(&mut fields);
        let mut line = fields.take_serializer()?;
        line.serialize_entry("service", self.service)?;
        line.serialize_entry("function_name", &self.function)?;
        invocation::with(|invocation| {
            line.serialize_entry("function_request_id", &invocation.request_id)?;
            line.serialize_entry("cold_start", &invocation.cold_start)?;
            if let Some(trace_id) = &invocation.trace_id {
                line.serialize_entry("xray_trace_id", trace_id)?;
            }
            Ok::<_, serde_json::Error>(())
        })
        .transpose()?;
        line.end()
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        self.write(Text(&mut writer), &time, event).map_err(|_| fmt::Error)?;
        writeln!(writer)
    }
}

/// Lets the JSON serializer, which writes bytes, write text.
struct Text<'a, 'w>(&'a mut Writer<'w>);

impl io::Write for Text<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        fmt::Write::write_str(self.0, text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
