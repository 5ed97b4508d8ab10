//! What goes into an invocation and what comes out of it.
//!
//! It may not do anything: these are values.

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

/// One invocation that is over.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The id the function saw.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The environment it ran in, alive or not; `None` when it was refused before it reached one.
    pub environment: Option<Arc<Environment>>,
    /// Whether INIT, or the restore of a snapshot, ran for this invocation.
    pub cold_start: bool,
    /// What that INIT or restore took; `None` when there was none or it did not succeed.
    pub init_duration: Option<Duration>,
    /// From the event's readiness to the outcome, without a successful INIT before it.
    pub duration: Duration,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered with this payload.
    Success(Bytes),
    /// The function reported an error, or its answer was too large: the report, as JSON.
    FunctionError(Bytes),
    /// The function's timeout passed, and its process was killed.
    TimedOut,
    /// The process ended before it answered; also when it was ended by another invocation's timeout,
    /// where an environment serves several at once.
    Crashed(ExitStatus),
    /// INIT failed twice, or a restore did: the report, as JSON.
    InitFailed(Bytes),
    /// The function's environments are at their limit and busy.
    Throttled,
    /// The event is larger than 6 MiB.
    TooLarge,
}
