//! One execution environment: a process, what its runtime and the service have told one another, and
//! the rules that freeze, thaw and end it.
//!
//! It may not choose environments or start invocations of its own accord; [`super::service`] does. It
//! relies on [`super::runtime_api`] to bring the runtime's requests here. Every change, and the signal
//! that belongs to it, happens under one lock, so that a freeze never overtakes a thaw.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::function::Function;
use super::log::Log;
use super::watchdog::Watchdog;
use super::{lock, runtime_api};

/// What a process with an internal extension gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// The longest we wait for the kernel to do what a signal asked for.
const KERNEL: Duration = Duration::from_secs(5);

/// Where an environment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// INIT: the process runs and has not asked for an event yet.
    Initializing,
    /// INIT of a SnapStart function is over, and the process waits to be restored.
    Snapshot,
    /// Restored, and not yet asking for an event.
    Restoring,
    /// INIT is over: idle, or serving invocations.
    Ready,
    /// The runtime reported that INIT or the restore failed.
    Failed,
    /// The process is gone.
    Ended(ExitStatus),
}

/// One event on its way to a runtime.
pub(super) struct Assignment {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    /// Milliseconds since 1970.
    pub(super) deadline_ms: u128,
}

/// What a runtime said of an invocation.
pub(super) enum Answer {
    Response(Bytes),
    Error(Bytes),
}

/// How an invocation ended inside its environment.
pub(super) enum Served {
    Answered(Answer),
    TimedOut,
    Ended(ExitStatus),
}

/// Why an environment is not ready.
pub(super) enum NotReady {
    TimedOut,
    /// What the runtime reported before it gave up, if it did.
    Reported(Bytes),
    Ended(ExitStatus),
}

/// One execution environment. It is alive until [`Phase::Ended`]; a handle to it outlives its process.
pub struct Environment {
    id: String,
    function: Arc<Function>,
    pid: Pid,
    log: Log,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    freezing: Arc<AtomicBool>,
}

struct State {
    frozen: bool,
    /// Invocations that were given this environment, from before they arrive until the runtime is back.
    claims: u32,
    last_used: Instant,
    /// `/next` requests that wait for an event.
    polls: VecDeque<oneshot::Sender<Assignment>>,
    /// Events that wait for a `/next`.
    waiting: VecDeque<Assignment>,
    in_flight: HashMap<String, InFlight>,
    /// Answered invocations whose slot has not asked for the next event yet.
    returning: VecDeque<oneshot::Sender<()>>,
    /// Registered extensions, and whether each has asked for its next event.
    extensions: HashMap<String, bool>,
    restore: Option<oneshot::Sender<()>>,
    failure: Bytes,
}

/// Where the news of one invocation goes.
struct InFlight {
    answered: oneshot::Sender<Answer>,
    returned: oneshot::Sender<()>,
}

/// The right to one of an environment's slots; dropping it gives the slot back and lets it freeze.
pub(super) struct Claim(Arc<Environment>);

impl Claim {
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

impl Environment {
    /// Starts the process and its Runtime API; INIT goes on by itself. The claim holds the first slot.
    pub(super) fn start(
        function: &Arc<Function>,
        freezing: &Arc<AtomicBool>,
        watchdog: &Arc<Watchdog>,
        forward_log: bool,
    ) -> anyhow::Result<Claim> {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .context("cannot listen on 127.0.0.1 for a Runtime API")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (log, stdout, stderr) = Log::new(forward_log.then(|| function.name.clone()))?;

        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut command = std::process::Command::new(&function.binary);
        command
            .env_clear()
            .envs(function.variables(&address.to_string(), &id))
            .current_dir(function.task_root())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        let mut command = Command::from(command);
        let child = command.kill_on_drop(true).spawn().with_context(|| {
            format!(
                "cannot start {} for function {}",
                function.binary.display(),
                function.name
            )
        })?;
        // Our copies of the pipe's write ends go with it, or the log would never end.
        drop(command);
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .context("the child has no process id")?;
        watchdog.add(pid);

        let environment = Arc::new(Self {
            id,
            function: Arc::clone(function),
            pid,
            log,
            state: Mutex::new(State {
                frozen: false,
                claims: 1,
                last_used: Instant::now(),
                polls: VecDeque::new(),
                waiting: VecDeque::new(),
                in_flight: HashMap::new(),
                returning: VecDeque::new(),
                extensions: HashMap::new(),
                restore: None,
                failure: Bytes::new(),
            }),
            phase: watch::Sender::new(Phase::Initializing),
            freezing: Arc::clone(freezing),
        });
        tokio::spawn(supervise(
            Arc::clone(&environment),
            child,
            Arc::clone(watchdog),
        ));
        tokio::spawn(runtime_api::serve(listener, Arc::clone(&environment)));
        Ok(Claim(environment))
    }

    /// The environment's id, which ends the name of its log stream.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The function it runs.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The process id, also the id of its process group. It means nothing after [`Phase::Ended`].
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// Where it is in its life, now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether it was told to freeze and not to thaw since.
    pub fn is_frozen(&self) -> bool {
        lock(&self.state).frozen
    }

    /// Invocations it was given and that are not over.
    pub fn in_flight(&self) -> u32 {
        lock(&self.state).claims
    }

    /// The lines it wrote to standard output and error, oldest first, at most 128 KiB of them, with
    /// everything written up to now. Kept after the process has ended.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Stops every process of the environment and waits, at most 5 s, until the kernel has done so.
    /// Returns whether it has. An invocation in flight stays so, and its deadline goes on.
    pub async fn freeze(&self) -> bool {
        self.stop(&mut lock(&self.state));
        self.stopped().await
    }

    /// Lets a frozen environment go on; without an invocation, it stays thawed until after the next one.
    pub fn thaw(&self) {
        self.resume(&mut lock(&self.state));
    }

    /// Waits, at most 5 s, until the environment is frozen and the kernel has stopped its process.
    /// Returns whether it is.
    pub async fn until_frozen(&self) -> bool {
        let deadline = Instant::now() + KERNEL;
        while !self.is_frozen() {
            if Instant::now() > deadline || matches!(self.phase(), Phase::Ended(_)) {
                return false;
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.stopped().await
    }

    async fn stopped(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let deadline = Instant::now() + KERNEL;
        while Instant::now() < deadline && !matches!(self.phase(), Phase::Ended(_)) {
            match rustix::process::waitid(WaitId::Pid(self.pid), options) {
                Ok(Some(status)) if status.stopped() => return true,
                Ok(_) => sleep(Duration::from_millis(1)).await,
                Err(_) => return false,
            }
        }
        false
    }

    /// Shuts the environment down as Lambda does: with a registered extension the process gets SIGTERM
    /// and 500 ms, then, or at once without one, SIGKILL. Returns how it ended, or `None` when the
    /// kernel had not ended it 5 s after SIGKILL. Invocations in flight fail as crashed.
    pub async fn shutdown(&self) -> Option<ExitStatus> {
        let told = {
            let mut state = lock(&self.state);
            let told = !state.extensions.is_empty();
            if told {
                self.resume(&mut state);
                self.signal(Signal::TERM);
            }
            told
        };
        if told && let Ok(status) = timeout(GRACE, self.ended()).await {
            return Some(status);
        }
        self.destroy().await
    }

    /// Ends the environment with no goodbye: SIGKILL to all its processes, frozen or not. Returns how it
    /// ended, or `None` when the kernel had not ended it after 5 s. The kernel closes its sockets.
    pub async fn destroy(&self) -> Option<ExitStatus> {
        self.kill();
        timeout(KERNEL, self.ended()).await.ok()
    }

    /// Waits until the process is gone. Unbounded: bound it. Cancel safe.
    pub async fn ended(&self) -> ExitStatus {
        let mut phase = self.phase.subscribe();
        loop {
            if let Phase::Ended(status) = *phase.borrow_and_update() {
                return status;
            }
            if phase.changed().await.is_err() {
                // The sender is a field of ours, so this does not happen while `self` is borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.phase(), Phase::Ended(_))
    }

    pub(super) fn last_used(&self) -> Instant {
        lock(&self.state).last_used
    }

    pub(super) fn note(&self, line: &str) {
        self.log.platform(line);
    }

    /// A free slot, if INIT is over and there is one.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut state = lock(&self.state);
        let slots = match self.phase() {
            Phase::Ready => self.function.max_concurrency.max(1),
            Phase::Snapshot => 1,
            Phase::Initializing | Phase::Restoring | Phase::Failed | Phase::Ended(_) => 0,
        };
        (state.claims < slots).then(|| {
            state.claims += 1;
            Claim(Arc::clone(self))
        })
    }

    /// Waits for the end of INIT: asking for the first event, or the snapshot.
    pub(super) async fn initialized(&self, deadline: Instant) -> Result<(), NotReady> {
        let mut phase = self.phase.subscribe();
        let over = phase.wait_for(|phase| *phase != Phase::Initializing);
        match timeout_at(deadline, over).await {
            Err(_) | Ok(Err(_)) => Err(NotReady::TimedOut),
            Ok(Ok(phase)) => self.verdict(*phase),
        }
    }

    /// Restores a snapshot and waits until the runtime asks for an event; at once when it already has.
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
        let mut phase = self.phase.subscribe();
        let over = phase.wait_for(|phase| *phase != Phase::Restoring);
        match timeout_at(deadline, over).await {
            Err(_) | Ok(Err(_)) => Err(NotReady::TimedOut),
            Ok(Ok(phase)) => self.verdict(*phase),
        }
    }

    fn verdict(&self, phase: Phase) -> Result<(), NotReady> {
        let reported = lock(&self.state).failure.clone();
        match phase {
            Phase::Initializing | Phase::Snapshot | Phase::Restoring | Phase::Ready => Ok(()),
            Phase::Failed => Err(NotReady::Reported(reported)),
            Phase::Ended(_) if !reported.is_empty() => Err(NotReady::Reported(reported)),
            Phase::Ended(status) => Err(NotReady::Ended(status)),
        }
    }

    /// Gives the event to the runtime and waits for its answer and its return, or the end of either.
    /// At the deadline the process is killed. The caller holds a claim.
    pub(super) async fn serve(&self, assignment: Assignment, deadline: Instant) -> Served {
        let (answered, mut answer) = oneshot::channel();
        let (returned, back) = oneshot::channel();
        let news = InFlight { answered, returned };
        let request_id = assignment.request_id.clone();
        {
            let mut state = lock(&self.state);
            state.in_flight.insert(request_id.clone(), news);
            state.waiting.push_back(assignment);
            self.deliver(&mut state);
        }
        let answer = match timeout_at(deadline, &mut answer).await {
            Ok(Ok(answer)) => answer,
            // The answers' senders are dropped when the process ends.
            Ok(Err(_)) => return Served::Ended(self.ended().await),
            Err(_) => {
                lock(&self.state).in_flight.remove(&request_id);
                let _ = self.destroy().await;
                return Served::TimedOut;
            }
        };
        // As on Lambda, the invocation is over when the runtime asks for the next event. One that does
        // not come back in time costs its environment, not the answer it has given.
        if timeout_at(deadline, back).await.is_err() {
            let _ = self.destroy().await;
        }
        Served::Answered(answer)
    }

    // ---- what the Runtime API brings ----

    /// The runtime asks for an event. The receiver fails when the process is gone.
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

    /// Whether an invocation waits for an answer under this id.
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
        lock(&self.state).failure = report;
        self.phase.send_if_modified(|phase| match phase {
            Phase::Initializing | Phase::Snapshot | Phase::Restoring => {
                *phase = Phase::Failed;
                true
            }
            Phase::Ready | Phase::Failed | Phase::Ended(_) => false,
        });
    }

    /// The runtime has reached the snapshot point. The receiver fails when the process is gone.
    pub(super) fn await_restore(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if self.is_alive() {
            state.restore = Some(sender);
            self.settle(&mut state);
        }
        receiver
    }

    /// The process registers an extension; the answer is its identifier.
    pub(super) fn register_extension(&self) -> String {
        let identifier = uuid::Uuid::new_v4().to_string();
        lock(&self.state)
            .extensions
            .insert(identifier.clone(), false);
        identifier
    }

    /// An extension asks for its next event. Returns false for one that is not registered.
    pub(super) fn extension_polls(&self, identifier: &str) -> bool {
        let mut state = lock(&self.state);
        match state.extensions.get_mut(identifier) {
            Some(asked) => *asked = true,
            None => return false,
        }
        self.settle(&mut state);
        true
    }

    // ---- the rules ----

    /// Applies what follows from the last change: the end of INIT, and the freeze when all is idle.
    fn settle(&self, state: &mut State) {
        if !state.extensions.values().all(|asked| *asked) {
            return;
        }
        let polls = state.polls.iter().filter(|poll| !poll.is_closed()).count();
        let mut idle = false;
        match self.phase() {
            Phase::Initializing if state.restore.is_some() => {
                self.phase.send_replace(Phase::Snapshot);
                self.freeze_if_wanted(state);
            }
            Phase::Initializing | Phase::Restoring if polls > 0 => {
                self.phase.send_replace(Phase::Ready);
                idle = true;
            }
            Phase::Ready => idle = true,
            Phase::Initializing
            | Phase::Snapshot
            | Phase::Restoring
            | Phase::Failed
            | Phase::Ended(_) => {}
        }
        let slots = usize::try_from(self.function.max_concurrency.max(1)).unwrap_or(usize::MAX);
        if idle && state.claims == 0 && polls >= slots {
            self.freeze_if_wanted(state);
        }
    }

    /// Freezes now what is idle, after automatic freezing was switched on.
    pub(super) fn freeze_if_idle(&self) {
        let mut state = lock(&self.state);
        if self.phase() == Phase::Snapshot {
            self.freeze_if_wanted(&mut state);
        }
        self.settle(&mut state);
    }

    fn freeze_if_wanted(&self, state: &mut State) {
        if self.freezing.load(Ordering::Relaxed) {
            self.stop(state);
        }
    }

    /// Hands waiting events to waiting polls, thawing first.
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

    fn stop(&self, state: &mut State) {
        if !state.frozen && self.is_alive() {
            state.frozen = true;
            self.signal(Signal::STOP);
        }
    }

    fn resume(&self, state: &mut State) {
        if state.frozen {
            state.frozen = false;
            self.signal(Signal::CONT);
        }
    }

    fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It fails only when the process has just gone, which the supervisor reports.
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    fn end(&self, status: ExitStatus) {
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

/// Reads the log and waits for the process; when it goes, so does everything it has left behind.
async fn supervise(environment: Arc<Environment>, mut child: Child, watchdog: Arc<Watchdog>) {
    let mut reading = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            more = environment.log.read(), if reading => reading = more,
        }
    };
    let _ = rustix::process::kill_process_group(environment.pid, Signal::KILL);
    watchdog.remove(environment.pid);
    // The log ends with the last process that holds it; one that left the group may hold it for long.
    let _ = timeout(Duration::from_millis(200), async {
        while reading && environment.log.read().await {}
    })
    .await;
    environment.end(status.unwrap_or_default());
}
