//! The input and the result of an invocation.
//!
//! Invariants: these are values without behaviour.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::Value;

use super::environment::Environment;

/// The event of an invocation: JSON text, up to 6 MiB.
#[derive(Clone, Debug)]
pub struct Payload(pub(super) Bytes);

impl From<Value> for Payload {
    fn from(event: Value) -> Self {
        Self::from(&event)
    }
}

impl From<&Value> for Payload {
    fn from(event: &Value) -> Self {
        Self(Bytes::from(event.to_string()))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(event: Vec<u8>) -> Self {
        Self(Bytes::from(event))
    }
}

impl From<Bytes> for Payload {
    fn from(event: Bytes) -> Self {
        Self(event)
    }
}

/// One finished invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id that the function received.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its environment, alive or not; `None` if it was rejected before it reached one.
    pub environment: Option<Arc<Environment>>,
    /// Whether INIT, or the restore of a snapshot, ran for this invocation.
    pub cold_start: bool,
    /// The duration of that INIT or restore; `None` if there was none or it did not succeed.
    pub init_duration: Option<Duration>,
    /// From the delivery of the event to the outcome, without a preceding successful INIT.
    pub duration: Duration,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered with this payload.
    Success(Bytes),
    /// The function reported an error, or its answer was too large: the report, as JSON.
    FunctionError(Bytes),
    /// The function's timeout expired, and its process was killed.
    TimedOut,
    /// The process ended before it answered, possibly because of another invocation's timeout in an environment that
    /// serves several at once.
    Crashed(ExitStatus),
    /// INIT failed twice, or a restore did: the report, as JSON.
    InitFailed(Bytes),
    /// All environments that the function may have are busy.
    Throttled,
    /// The event is larger than 6 MiB.
    TooLarge,
}
