//! `GET /api/health`, and a scheduled event: whether the service works; the schedule gets the full report and metrics.
//! Safe to repeat: it only looks, over a connection of its own.

use std::process::ExitCode;

use functions::SERVICE;

fn main() -> ExitCode {
    SERVICE.run_health("GET /api/health")
}

functions::describe!(|operation, schemas| {
    use serde_json::json;
    let health = schemas.answer::<shared::health::Public>();
    let example = |status: &str, database: &str| json!({"status": status, "database": database, "timestamp": "2026-03-02T09:30:00.123456789Z", "latencyMs": 9});
    let (ok, down) = (example("ok", "connected"), example("down", "disconnected"));
    let headers = [("Cache-Control", "NoStore"), ("Age", "Age")];
    operation
        .public()
        .answers(200, "It works, if only for reading", &headers, health.clone(), ok)
        .answers(503, "The database cannot be used", &headers, health, down)
});
