//! `GET /api/health`, and a scheduled event: whether the service works; the schedule gets the full report and metrics.
//! Safe to repeat: it only looks, over a connection of its own.

use std::process::ExitCode;

use shared::health::{self, Status};
use shared::http::{Error, Request, Response, run_with_schedule};

fn main() -> ExitCode {
    run_with_schedule("GET /api/health", handle, health::scheduled)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let report = health::look(request.pool(), request.deadline()).await.public();
    let response = match report.status {
        Status::Ok | Status::Degraded => Response::ok(&report),
        Status::Down => Response::unavailable(&report),
    };
    Ok(response.with_header("cache-control", "no-store"))
}
