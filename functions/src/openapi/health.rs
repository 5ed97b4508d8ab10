//! The operation of [`health`](shared::health).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use shared::health::Public;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let health = schemas.answer::<Public>();
    let example = |status: &str, database: &str| -> Value {
        json!({"status": status, "database": database, "timestamp": "2026-03-02T09:30:00.123456789Z", "latencyMs": 9})
    };
    let headers = [("Cache-Control", "NoStore"), ("Age", "Age")];
    vec![
        operation!("health")
            .public()
            .answers(
                200,
                "It works, if only for reading",
                &headers,
                health.clone(),
                example("ok", "connected"),
            )
            .answers(
                503,
                "The database cannot be used",
                &headers,
                health,
                example("down", "disconnected"),
            ),
    ]
}
