//! One connection through the proxy: two directions, and what may befall them.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::frames::{Frames, is_commit, is_ready, sqlstate};
use super::{Shared, frames, lock};

/// Where the connection of a COMMIT is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// COMMIT never reaches the server: nothing is applied.
    BeforeServer,
    /// COMMIT reaches the server and the line is cut at once: the server applies it into the void.
    AfterServer,
    /// The server has answered, and its answer is lost.
    BeforeAcknowledgement,
}

/// What a line is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Flowing,
    Silent,
    Reset,
}

/// Carries one connection until either side ends it, or it is told otherwise.
pub(super) async fn carry(client: TcpStream, upstream: SocketAddr, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        reset(&client);
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let number = shared.opened.fetch_add(1, Ordering::SeqCst);
    let (told, state) = watch::channel(State::Flowing);
    {
        let mut lines = lock(&shared.lines);
        lines.insert(number, told);
        shared.peak.fetch_max(lines.len() as u64, Ordering::SeqCst);
    }
    flow(client, server, state, &shared).await;
    lock(&shared.lines).remove(&number);
}

async fn flow(mut client: TcpStream, mut server: TcpStream, mut state: watch::Receiver<State>, shared: &Shared) {
    let session = OnceLock::new();
    let ended = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let lose_answer = watch::Sender::new(false);
        tokio::select! {
            biased;
            told = state.wait_for(|state| *state != State::Flowing) => told.map_or(End::Reset, |state| match *state {
                State::Silent => End::Silent,
                State::Flowing | State::Reset => End::Reset,
            }),
            end = to_server(client_read, server_write, &lose_answer, shared) => end,
            end = to_client(server_read, client_write, &lose_answer, &session, shared) => end,
        }
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
            let _ = state.wait_for(|state| *state == State::Reset).await;
            reset(&client);
            reset(&server);
        }
    }
}

/// A connection that the server has taken, until the server's side of it is closed.
struct Session<'s>(&'s Shared);

impl<'s> Session<'s> {
    fn begin(shared: &'s Shared) -> Self {
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

enum End {
    Closed,
    Reset,
    CutClient,
    Silent,
}

async fn to_server(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    lose_answer: &watch::Sender<bool>,
    shared: &Shared,
) -> End {
    let mut frames = Frames::of_client();
    loop {
        if !from.read_buf(frames.buffer()).await.is_ok_and(|bytes| bytes > 0) {
            return End::Closed;
        }
        while let Some(frame) = frames.next() {
            let frame = match *shared.idle_sessions.borrow() {
                Some(timeout) => frames::with_idle_session_timeout(frame, timeout),
                None => frame,
            };
            let cut = is_commit(&frame).then(|| shared.take_cut()).flatten();
            match cut {
                Some(Cut::BeforeServer) => return End::CutClient,
                Some(Cut::BeforeAcknowledgement) => {
                    lose_answer.send_replace(true);
                }
                Some(Cut::AfterServer) | None => {}
            }
            if pass(frame, &mut to, shared).await.is_err() {
                return End::Closed;
            }
            if cut == Some(Cut::AfterServer) {
                return End::CutClient;
            }
        }
    }
}

async fn to_client<'s>(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    lose_answer: &watch::Sender<bool>,
    session: &OnceLock<Session<'s>>,
    shared: &'s Shared,
) -> End {
    let mut frames = Frames::of_server();
    loop {
        if !from.read_buf(frames.buffer()).await.is_ok_and(|bytes| bytes > 0) {
            return End::Closed;
        }
        while let Some(frame) = frames.next() {
            let ready = is_ready(&frame);
            if *lose_answer.borrow() {
                if ready {
                    return End::CutClient;
                }
                continue;
            }
            if ready {
                shared.ready.fetch_add(1, Ordering::SeqCst);
                session.get_or_init(|| Session::begin(shared));
            }
            let error = sqlstate(&frame).map(str::to_owned);
            if pass(frame, &mut to, shared).await.is_err() {
                return End::Closed;
            }
            if let Some(code) = error {
                shared
                    .errors
                    .send_modify(|errors| *errors.entry(code).or_default() += 1);
            }
        }
    }
}

async fn pass(frame: Bytes, to: &mut WriteHalf<'_>, shared: &Shared) -> std::io::Result<()> {
    let weather = *shared.weather.borrow();
    if !weather.latency.is_zero() || !weather.jitter.is_zero() {
        sleep(weather.latency + weather.jitter.mul_f64(spread(&frame))).await;
    }
    to.write_all(&frame).await
}

/// A share of the jitter that looks random and is the same in every run.
fn spread(frame: &[u8]) -> f64 {
    let sum = frame
        .iter()
        .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    f64::from(sum % 1_000) / 1_000.0
}

/// The next close sends RST.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// From now on everything that arrives is dropped unseen: no ACK, no FIN, no RST.
fn swallow(stream: &TcpStream) {
    super::door::drop_all(&socket2::SockRef::from(stream));
}
