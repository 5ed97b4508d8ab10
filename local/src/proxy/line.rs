//! One connection through the proxy: two directions, and the faults on them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::frames::{Frames, Refusal, fatal, is_ready, prepares, sqlstate, with_idle_session_timeout, with_text};
use super::orders::{Cut, Effect};
use super::requests::{Request, Requests};
use super::{Shared, lock};

/// The state of a line, as ordered by its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineState {
    Flowing,
    Silent,
    Hung,
    Reset,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
    CutClient,
    Silent,
    Hung,
}

/// The treatment of the reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Delivered,
    /// Delayed by this time, then delivered.
    Held(Duration),
    /// Dropped; the line ends in this way when the reply is complete.
    Lost(End),
    /// The reply to a delayed request: it is counted, even if the client has disconnected.
    OfDelayedRequest,
    /// Dropped.
    Swallowed,
    /// Dropped; when it is complete the client gets this error, and the line is closed.
    Fatal(Refusal),
}

/// The treatments of the pending replies, in their order. Both directions of a line share them.
///
/// Queued before the request is forwarded, and removed by the ReadyForQuery that ends its reply. The start-up has none.
#[derive(Debug, Default)]
struct Replies {
    treatments: Mutex<VecDeque<Treatment>>,
    late_is_answered: Notify,
}

impl Replies {
    fn push(&self, treatment: Treatment) {
        lock(&self.treatments).push_back(treatment);
    }

    /// Returns the treatment of a message from the server.
    fn treatment_of(&self, ready: bool) -> Treatment {
        let mut treatments = lock(&self.treatments);
        let treatment = if ready {
            treatments.pop_front()
        } else {
            treatments.front().copied()
        };
        treatment.unwrap_or(Treatment::Delivered)
    }

    /// Delivers the rest of the delayed reply as it arrives.
    fn release(&self) {
        if let Some(first @ Treatment::Held(_)) = lock(&self.treatments).front_mut() {
            *first = Treatment::Delivered;
        }
    }
}

/// Carries one connection until either side ends it or the proxy orders another state.
pub(super) async fn carry(client: TcpStream, upstream: SocketAddr, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        reset(&client);
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let number = shared.opened.fetch_add(1, Ordering::SeqCst);
    let (told, state) = watch::channel(LineState::Flowing);
    {
        let mut lines = lock(&shared.lines);
        lines.insert(number, told);
        shared.peak.fetch_max(lines.len() as u64, Ordering::SeqCst);
    }
    flow(client, server, state, &shared).await;
    lock(&shared.lines).remove(&number);
}

async fn flow(mut client: TcpStream, mut server: TcpStream, mut state: watch::Receiver<LineState>, shared: &Shared) {
    let session = OnceLock::new();
    let ended = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let replies = Replies::default();
        tokio::select! {
            biased;
            told = state.wait_for(|state| *state != LineState::Flowing) => told.map_or(End::Reset, |state| match *state {
                LineState::Silent => End::Silent,
                LineState::Hung => End::Hung,
                LineState::Flowing | LineState::Reset => End::Reset,
            }),
            end = to_server(client_read, server_write, &replies, shared) => end,
            end = to_client(server_read, client_write, &replies, &session, shared) => end,
        }
    };
    let mut until_reset = async || {
        let _ = state.wait_for(|state| *state == LineState::Reset).await;
    };
    match ended {
        End::Closed => {
            let _ = tokio::join!(client.shutdown(), server.shutdown());
        }
        End::Reset => {
            reset(&client);
            reset(&server);
        }
        End::CutClient => {
            reset(&client);
            let _ = server.shutdown().await;
        }
        End::Silent => {
            swallow(&client);
            swallow(&server);
            until_reset().await;
            reset(&client);
            reset(&server);
        }
        End::Hung => {
            tokio::select! {
                () = until_reset() => {}
                () = drain(&mut client, &mut server) => {}
            }
            reset(&client);
            reset(&server);
        }
    }
}

/// A connection that the server has accepted, until the server's side of it is closed.
struct Session<'s>(&'s Shared);

impl<'s> Session<'s> {
    fn begin(shared: &'s Shared) -> Self {
        shared.logins.fetch_add(1, Ordering::SeqCst);
        let now = shared.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        shared.peak_sessions.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn to_server(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, replies: &Replies, shared: &Shared) -> End {
    let (mut frames, mut requests, mut used) = (Frames::of_client(), Requests::default(), false);
    loop {
        if !from.read_buf(frames.buffer()).await.is_ok_and(|bytes| bytes > 0) {
            return End::Closed;
        }
        shared.travel(frames.buffer()).await;
        while let Some(frame) = frames.next() {
            let frame = match *shared.idle_sessions.borrow() {
                Some(timeout) => with_idle_session_timeout(frame, timeout),
                None => frame,
            };
            if !frames.is_typed() {
                if to.write_all(&frame).await.is_err() {
                    return End::Closed;
                }
                continue;
            }
            let frame = shared.rewritten(frame);
            let Some(request) = requests.add(frame) else { continue };
            if request.binds && !used {
                used = true;
                shared.used.fetch_add(1, Ordering::SeqCst);
            }
            let effect = if request.answered {
                shared.take_order(&request)
            } else {
                Effect::Nothing
            };
            if let Err(end) = forward(&request, effect, &mut to, replies).await {
                return end;
            }
        }
    }
}

/// Forwards a request with its ordered effect.
///
/// # Errors
/// Returns how the line ends, if it does.
async fn forward(request: &Request, effect: Effect, to: &mut WriteHalf<'_>, replies: &Replies) -> Result<(), End> {
    let (place, lost) = match effect {
        Effect::Cut(place) => (Some(place), End::CutClient),
        Effect::Hang(place) => (Some(place), End::Hung),
        Effect::Nothing | Effect::LateRequest(_) | Effect::LateReply(_) | Effect::Twice | Effect::Fatal(_) => {
            (None, End::Closed)
        }
    };
    match place {
        Some(Cut::BeforeServer) => return Err(lost),
        Some(Cut::BeforeSync) => {
            let sync = request.frames.len().saturating_sub(1);
            pass_all(&request.frames[..sync], to).await?;
            return Err(lost);
        }
        Some(Cut::AfterServer) => {
            pass_all(&request.frames, to).await?;
            return Err(lost);
        }
        Some(Cut::BeforeAcknowledgement) => replies.push(Treatment::Lost(lost)),
        None => {}
    }
    match effect {
        Effect::LateReply(held) => replies.push(Treatment::Held(held)),
        Effect::Fatal(refusal) => replies.push(Treatment::Fatal(refusal)),
        Effect::LateRequest(held) => {
            sleep(held).await;
            replies.push(Treatment::OfDelayedRequest);
            pass_all(&request.frames, to).await?;
            // The server notices only after its answer that the client has disconnected.
            replies.late_is_answered.notified().await;
            return Ok(());
        }
        Effect::Twice => {
            replies.push(Treatment::Delivered);
            replies.push(Treatment::Swallowed);
            pass_all(&request.frames, to).await?;
        }
        Effect::Nothing if request.answered => replies.push(Treatment::Delivered),
        Effect::Nothing | Effect::Cut(_) | Effect::Hang(_) => {}
    }
    pass_all(&request.frames, to).await
}

async fn to_client<'s>(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    replies: &Replies,
    session: &OnceLock<Session<'s>>,
    shared: &'s Shared,
) -> End {
    let mut frames = Frames::of_server();
    loop {
        if !from.read_buf(frames.buffer()).await.is_ok_and(|bytes| bytes > 0) {
            return End::Closed;
        }
        shared.travel(frames.buffer()).await;
        while let Some(frame) = frames.next() {
            let ready = is_ready(&frame);
            let treatment = replies.treatment_of(ready);
            match treatment {
                Treatment::Lost(end) if ready => return end,
                Treatment::Fatal(refusal) if ready => {
                    // Fails if the client has disconnected and needs no error.
                    let _ = to.write_all(&fatal(refusal.sqlstate, refusal.message)).await;
                    return End::Closed;
                }
                Treatment::Lost(_) | Treatment::Swallowed | Treatment::Fatal(_) => continue,
                Treatment::Held(held) => {
                    sleep(held).await;
                    replies.release();
                }
                Treatment::Delivered | Treatment::OfDelayedRequest => {}
            }
            if ready {
                shared.ready.fetch_add(1, Ordering::SeqCst);
                session.get_or_init(|| Session::begin(shared));
            }
            let error = sqlstate(&frame).map(str::to_owned);
            let passed = to.write_all(&frame).await;
            if treatment == Treatment::OfDelayedRequest && ready {
                shared.late.fetch_add(1, Ordering::SeqCst);
                replies.late_is_answered.notify_one();
            } else if passed.is_err() && treatment != Treatment::OfDelayedRequest {
                return End::Closed;
            }
            if let Some(code) = error {
                shared.note_error(code);
            }
        }
    }
}

async fn pass_all(frames: &[Bytes], to: &mut WriteHalf<'_>) -> Result<(), End> {
    for frame in frames {
        to.write_all(frame).await.map_err(|_| End::Closed)?;
    }
    Ok(())
}

impl Shared {
    /// Delays bytes that arrived together by the latency. One packet has one delay: the messages in it do not wait for
    /// each other.
    async fn travel(&self, arrived: &[u8]) {
        let delay = *self.delay.borrow();
        let travel = delay.latency + delay.jitter.mul_f64(spread(arrived));
        if !travel.is_zero() {
            // Tokio's timer counts whole milliseconds and rounds up; a thread sleeps to within a tenth of one.
            let _ = spawn_blocking(move || std::thread::sleep(travel)).await;
        }
    }
}

impl Shared {
    /// Records the statement that a message prepares, and returns the message with the text that replaces it.
    fn rewritten(&self, frame: Bytes) -> Bytes {
        let Some(text) = prepares(&frame) else { return frame };
        let mut rewriting = lock(&self.rewriting);
        rewriting.prepared.insert(String::from_utf8_lossy(text).into_owned());
        let replaced = rewriting
            .replacement
            .as_ref()
            .filter(|(from, _)| from.as_bytes() == text);
        replaced
            .and_then(|(_, to)| with_text(&frame, to.as_bytes()))
            .unwrap_or(frame)
    }
}

/// Returns a share of the jitter that looks random and is the same in every run.
fn spread(bytes: &[u8]) -> f64 {
    let sum = bytes
        .iter()
        .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    f64::from(sum % 1_000) / 1_000.0
}

/// Reads and drops everything that either side sends, permanently: it is acknowledged, and so is the end of the stream.
async fn drain(client: &mut TcpStream, server: &mut TcpStream) {
    async fn drop_all(stream: &mut TcpStream) {
        let mut dropped = [0; 4096];
        while stream.read(&mut dropped).await.is_ok_and(|bytes| bytes > 0) {}
    }
    tokio::join!(drop_all(client), drop_all(server));
    std::future::pending().await
}

/// Makes the next close send RST.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// From now on drops everything that arrives: no ACK, no FIN, no RST.
fn swallow(stream: &TcpStream) {
    super::filter::drop_all(&socket2::SockRef::from(stream));
}
