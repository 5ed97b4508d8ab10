//! The state between a runtime and the service in an environment, and its rules: when INIT is over, when to freeze,
//! when to thaw, when an invocation is over.
//!
//! Invariants: does no I/O except sending signals. Every change, and the signal that belongs to it, happens under one
//! lock, so that a freeze never overtakes a thaw. Depends on: [`super::runtime_api`] for the runtime's requests, and
//! [`super::fleet`] for events.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::environment::{Environment, Phase};
use super::lock;
use super::state::{Answer, Assignment, InFlight, State};

/// How an invocation ended inside its environment.
pub(super) enum Served {
    Answered(Answer),
    TimedOut,
    Ended(ExitStatus),
}

/// Why an environment is not ready.
pub(super) enum NotReady {
    TimedOut,
    /// The runtime's error report.
    Reported(Bytes),
    Ended(ExitStatus),
}

/// The right to one of an environment's slots; dropping it releases the slot, so that the environment can freeze.
pub(super) struct Claim(Arc<Environment>);

impl Claim {
    /// Returns the claim that a new environment starts with.
    pub(super) fn first(environment: Arc<Environment>) -> Self {
        Self(environment)
    }

    pub(super) fn environment(&self) -> &Arc<Environment> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.claims = state.claims.saturating_sub(1);
        state.last_used = Instant::now();
        self.0.settle(&mut state);
    }
}

/// The service's side.
impl Environment {
    pub(super) fn last_used(&self) -> Instant {
        lock(&self.state).last_used
    }

    /// Claims a free slot, if INIT is over and there is one.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut state = lock(&self.state);
        let slots = match self.phase() {
            Phase::Ready => self.function.max_concurrency.max(1),
            Phase::Snapshot => 1,
            Phase::Initializing | Phase::Restoring | Phase::Failed | Phase::Ended(_) => 0,
        };
        (!state.retired && state.claims < slots).then(|| {
            state.claims += 1;
            Claim(Arc::clone(self))
        })
    }

    /// Waits for the end of INIT: the request for the first event, or the snapshot.
    pub(super) async fn initialized(&self, deadline: Instant) -> Result<(), NotReady> {
        self.past(Phase::Initializing, deadline).await
    }

    /// Restores a snapshot and waits until the runtime requests an event; returns at once if it already has.
    pub(super) async fn restored(&self, deadline: Instant) -> Result<(), NotReady> {
        {
            let mut state = lock(&self.state);
            if self.phase() == Phase::Snapshot {
                self.phase.send_replace(Phase::Restoring);
                self.resume(&mut state);
                if let Some(restore) = state.restore.take() {
                    let _ = restore.send(());
                }
            }
        }
        self.past(Phase::Restoring, deadline).await
    }

    async fn past(&self, before: Phase, deadline: Instant) -> Result<(), NotReady> {
        let mut phase = self.phase.subscribe();
        let over = async { phase.wait_for(|phase| *phase != before).await.map(|phase| *phase) };
        // Only the phase itself leaves the watch: holding its guard together with the lock would be a deadlock.
        let Ok(Ok(phase)) = timeout_at(deadline, over).await else {
            return Err(NotReady::TimedOut);
        };
        let reported = lock(&self.state).failure.clone();
        match (phase, reported) {
            (Phase::Failed | Phase::Ended(_), Some(report)) => Err(NotReady::Reported(report)),
            (Phase::Ended(status), None) => Err(NotReady::Ended(status)),
            (Phase::Initializing | Phase::Snapshot | Phase::Restoring | Phase::Ready | Phase::Failed, _) => Ok(()),
        }
    }

    /// Sends the event to the runtime and waits for its answer and its return, or the end of either. At the deadline
    /// the process is killed. The caller holds a claim.
    pub(super) async fn serve(&self, assignment: Assignment, deadline: Instant) -> Served {
        let (answered, answer) = oneshot::channel();
        let (returned, back) = oneshot::channel();
        let request_id = assignment.request_id.clone();
        {
            let mut state = lock(&self.state);
            // After the process has ended nothing else would drop these; they are dropped here, and the receivers below
            // see it.
            if self.is_alive() {
                let news = InFlight { answered, returned };
                state.in_flight.insert(request_id.clone(), news);
                state.waiting.push_back(assignment);
                self.deliver(&mut state);
            }
        }
        let answer = match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Served::Ended(self.ended().await),
            Err(_) => {
                lock(&self.state).in_flight.remove(&request_id);
                let _ = self.destroy().await;
                return Served::TimedOut;
            }
        };
        // As on Lambda, the invocation is over when the runtime requests the next event. A runtime that does not return
        // in time loses its environment, but its answer counts.
        if timeout_at(deadline, back).await.is_err() {
            let _ = self.destroy().await;
        }
        Served::Answered(answer)
    }

    /// Freezes the environment if it is idle, after automatic freezing was switched on.
    pub(super) fn freeze_if_idle(&self) {
        let mut state = lock(&self.state);
        if self.phase() == Phase::Snapshot {
            self.freeze_if_wanted(&mut state);
        }
        self.settle(&mut state);
    }

    /// Marks the process as ended, and fails everything that waited for it.
    pub(super) fn end(&self, status: ExitStatus) {
        let mut state = lock(&self.state);
        self.phase.send_replace(Phase::Ended(status));
        state.frozen = false;
        state.polls.clear();
        state.waiting.clear();
        state.in_flight.clear();
        state.returning.clear();
        state.restore = None;
    }
}

/// The runtime's side.
impl Environment {
    /// The runtime requests an event. The receiver fails if the process ends.
    pub(super) fn poll(&self) -> oneshot::Receiver<Assignment> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if self.is_alive() {
            state.polls.push_back(sender);
            if let Some(returned) = state.returning.pop_front() {
                let _ = returned.send(());
            }
            self.deliver(&mut state);
            self.settle(&mut state);
        }
        receiver
    }

    /// Returns whether an invocation with this id waits for an answer.
    pub(super) fn is_in_flight(&self, request_id: &str) -> bool {
        lock(&self.state).in_flight.contains_key(request_id)
    }

    /// The runtime answers. Returns false for an id that is not in flight.
    pub(super) fn answer(&self, request_id: &str, answer: Answer) -> bool {
        let mut state = lock(&self.state);
        let Some(InFlight { answered, returned }) = state.in_flight.remove(request_id) else {
            return false;
        };
        state.returning.push_back(returned);
        answered.send(answer).is_ok()
    }

    /// The runtime reports that INIT or the restore failed.
    pub(super) fn fail(&self, report: Bytes) {
        let mut state = lock(&self.state);
        match self.phase() {
            Phase::Initializing | Phase::Snapshot | Phase::Restoring => {
                state.failure = Some(report);
                self.phase.send_replace(Phase::Failed);
            }
            Phase::Ready | Phase::Failed | Phase::Ended(_) => {}
        }
    }

    /// The runtime has reached the snapshot point. The receiver fails if the process ends.
    pub(super) fn await_restore(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if self.is_alive() {
            state.restore = Some(sender);
            self.settle(&mut state);
        }
        receiver
    }

    /// The process registers an extension; returns its identifier.
    pub(super) fn register_extension(&self) -> String {
        let identifier = uuid::Uuid::new_v4().to_string();
        lock(&self.state).extensions.insert(identifier.clone(), false);
        identifier
    }

    /// An extension requests its next event. Returns false for one that is not registered.
    pub(super) fn extension_polls(&self, identifier: &str) -> bool {
        let mut state = lock(&self.state);
        match state.extensions.get_mut(identifier) {
            Some(asked) => *asked = true,
            None => return false,
        }
        self.settle(&mut state);
        true
    }
}

/// The rules.
impl Environment {
    /// Applies the consequences of the last change: the end of INIT, and the freeze if all is idle.
    fn settle(&self, state: &mut State) {
        if !state.extensions.values().all(|asked| *asked) {
            return;
        }
        let polls = state.polls.iter().filter(|poll| !poll.is_closed()).count();
        let idle = match self.phase() {
            Phase::Initializing if state.restore.is_some() => {
                self.phase.send_replace(Phase::Snapshot);
                self.freeze_if_wanted(state);
                false
            }
            Phase::Initializing | Phase::Restoring if polls > 0 => {
                self.phase.send_replace(Phase::Ready);
                true
            }
            Phase::Ready => true,
            Phase::Initializing | Phase::Snapshot | Phase::Restoring | Phase::Failed | Phase::Ended(_) => false,
        };
        let slots = usize::try_from(self.function.max_concurrency.max(1)).unwrap_or(usize::MAX);
        if idle && state.claims == 0 && polls >= slots {
            self.freeze_if_wanted(state);
        }
    }

    fn freeze_if_wanted(&self, state: &mut State) {
        if self.freezing.load(Ordering::Relaxed) {
            self.stop(state);
        }
    }

    /// Delivers waiting events to waiting polls, thawing first.
    fn deliver(&self, state: &mut State) {
        while let Some(assignment) = state.waiting.pop_front() {
            let Some(poll) = state.polls.pop_front() else {
                state.waiting.push_front(assignment);
                return;
            };
            self.resume(state);
            if let Err(assignment) = poll.send(assignment) {
                state.waiting.push_front(assignment);
            }
        }
    }

    pub(super) fn stop(&self, state: &mut State) {
        if !state.frozen && self.is_alive() {
            state.frozen = true;
            self.process.signal(Signal::STOP);
        }
    }

    pub(super) fn resume(&self, state: &mut State) {
        if state.frozen {
            state.frozen = false;
            self.process.signal(Signal::CONT);
        }
    }
}
