//! `GET /api/health`, and a scheduled event: whether the service works; the schedule gets the full report and metrics.
//! Safe to repeat: it only looks, over a connection of its own.

use std::process::ExitCode;

use functions::SERVICE;

fn main() -> ExitCode {
    SERVICE.run_health("GET /api/health")
}
