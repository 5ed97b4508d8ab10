//! The state that an environment's runtime and the service share: assigned events, pending requests, answers.
//!
//! Invariants: data only; [`super::exchange`] has the rules. Depends on: nothing of the emulator.

use std::collections::{HashMap, VecDeque};

use axum::body::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One event on its way to a runtime.
pub(super) struct Assignment {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    /// Milliseconds since 1970.
    pub(super) deadline_ms: u128,
}

/// A runtime's response to an invocation.
pub(super) enum Answer {
    Response(Bytes),
    Error(Bytes),
}

/// The state of one environment.
pub(super) struct State {
    pub(super) frozen: bool,
    /// Invocations assigned to this environment, from before they arrive until the runtime returns.
    pub(super) claims: u32,
    /// Whether no further invocation may be assigned to it.
    pub(super) retired: bool,
    pub(super) last_used: Instant,
    /// `/next` requests that wait for an event.
    pub(super) polls: VecDeque<oneshot::Sender<Assignment>>,
    /// Events that wait for a `/next`.
    pub(super) waiting: VecDeque<Assignment>,
    pub(super) in_flight: HashMap<String, InFlight>,
    /// Answered invocations whose slot has not requested the next event yet.
    pub(super) returning: VecDeque<oneshot::Sender<()>>,
    /// Registered extensions, and whether each has requested its next event.
    pub(super) extensions: HashMap<String, bool>,
    pub(super) restore: Option<oneshot::Sender<()>>,
    pub(super) failure: Option<Bytes>,
}

/// The channels for the progress of one invocation.
pub(super) struct InFlight {
    pub(super) answered: oneshot::Sender<Answer>,
    pub(super) returned: oneshot::Sender<()>,
}

impl State {
    /// Creates the state of a process that has just started, for the invocation that it was started for.
    pub(super) fn new() -> Self {
        Self {
            frozen: false,
            claims: 1,
            retired: false,
            last_used: Instant::now(),
            polls: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: HashMap::new(),
            returning: VecDeque::new(),
            extensions: HashMap::new(),
            restore: None,
            failure: None,
        }
    }

    pub(super) fn has_extension(&self) -> bool {
        !self.extensions.is_empty()
    }
}
