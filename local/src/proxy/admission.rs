//! The treatment of new connections, and the task that accepts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::filter::{drop_all, keep_all};
use super::frames::{Frames, Refusal, asks_for_encryption, fatal};
use super::{Shared, line, lock};

/// The treatment of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It reaches the server.
    Open,
    /// Nothing listens.
    Refused,
    /// Nothing answers: SYNs are dropped. Linux; elsewhere as [`Admission::Silent`].
    Dropped,
    /// It is accepted and reset.
    Reset,
    /// It is accepted, and nothing is ever sent.
    Silent,
    /// It is accepted, and reaches the server this many milliseconds later.
    Slow(u64),
    /// It reaches the server in its turn, this many per second, in the order of arrival. A client that has disconnected
    /// keeps its turn, because a server that is busy with log-ins notices late.
    Queued(u32),
    /// Its start-up is rejected with this error, as by a provider's proxy while the server resumes.
    Refusing(Refusal),
    /// It reaches the server, up to this many per second; further start-ups are rejected with this error.
    Throttled(u32, Refusal),
}

/// When connections were admitted, for the treatments that count them.
struct Turns {
    /// The turn of the next queued connection.
    next: Instant,
    /// The start of the current second, and how many were admitted since.
    second: (Instant, u32),
}

impl Turns {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            next: now,
            second: (now, 0),
        }
    }

    fn queued(&mut self, per_second: u32) -> Instant {
        let turn = self.next.max(Instant::now());
        self.next = turn + Duration::from_secs(1) / per_second.max(1);
        turn
    }

    fn is_within(&mut self, per_second: u32) -> bool {
        let now = Instant::now();
        if now.duration_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        let within = self.second.1 < per_second;
        self.second.1 += u32::from(within);
        within
    }
}

/// Admits connections according to `admission`, until aborted, and reports the treatment in force through `in_force`.
/// Refusing closes the listener; the port is bound again afterwards.
pub(super) async fn admit(
    listener: TcpListener,
    mut admission: watch::Receiver<Admission>,
    in_force: watch::Sender<Admission>,
    shared: Arc<Shared>,
) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    let mut lines = JoinSet::new();
    let mut held = Vec::new();
    let mut turns = Turns::new();
    loop {
        let now = *admission.borrow_and_update();
        if now == Admission::Refused {
            listener = None;
            in_force.send_replace(now);
            if admission.changed().await.is_err() {
                return;
            }
            continue;
        }
        if listener.is_none() {
            listener = listen(address).ok();
        }
        let Some(open) = &listener else {
            // An outgoing connection may use the port for a moment.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let socket = SockRef::from(open);
        if now == Admission::Dropped {
            drop_all(&socket);
        } else {
            keep_all(&socket);
        }
        if now == Admission::Open {
            held.clear();
        }
        in_force.send_replace(now);
        let accepted = tokio::select! {
            accepted = open.accept() => accepted,
            changed = admission.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            Some(_) = lines.join_next() => continue,
        };
        let Ok((client, _)) = accepted else { continue };
        let upstream = *lock(&shared.upstream);
        let shared = Arc::clone(&shared);
        match now {
            Admission::Open => {
                lines.spawn(line::carry(client, upstream, shared));
            }
            Admission::Slow(milliseconds) => {
                let turn = Instant::now() + Duration::from_millis(milliseconds);
                lines.spawn(carry_at(turn, client, upstream, shared));
            }
            Admission::Queued(per_second) => {
                lines.spawn(carry_at(turns.queued(per_second), client, upstream, shared));
            }
            Admission::Throttled(per_second, _) if turns.is_within(per_second) => {
                lines.spawn(line::carry(client, upstream, shared));
            }
            Admission::Refusing(refusal) | Admission::Throttled(_, refusal) => {
                lines.spawn(refuse(client, refusal, shared));
            }
            Admission::Reset => {
                let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            }
            Admission::Silent | Admission::Dropped | Admission::Refused => held.push(client),
        }
    }
}

async fn carry_at(turn: Instant, client: TcpStream, upstream: SocketAddr, shared: Arc<Shared>) {
    sleep_until(turn).await;
    line::carry(client, upstream, shared).await;
}

/// Waits for the start-up and rejects it, without TLS.
async fn refuse(mut client: TcpStream, refusal: Refusal, shared: Arc<Shared>) {
    let mut frames = Frames::of_client();
    while client.read_buf(frames.buffer()).await.is_ok_and(|bytes| bytes > 0) {
        while let Some(frame) = frames.next() {
            let asks = asks_for_encryption(&frame);
            let answer = if asks {
                "N".into()
            } else {
                fatal(refusal.sqlstate, refusal.message)
            };
            if client.write_all(&answer).await.is_err() {
                return;
            }
            if !asks {
                shared.note_error(refusal.sqlstate.to_owned());
                let _ = client.shutdown().await;
                return;
            }
        }
    }
}

/// Binds `address`, also immediately after a close.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // A burst of a thousand cold starts connects at once.
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// An address at which nothing answers: SYNs are dropped until this value is. Linux; elsewhere connections are
/// accepted, and nothing is ever sent.
#[derive(Debug)]
pub struct Blackhole {
    _listener: TcpListener,
}

impl Blackhole {
    /// Binds the address, for example 127.0.0.2 and a proxy's port.
    ///
    /// # Errors
    /// Fails if the address is in use, or is not this machine's.
    pub fn at(address: SocketAddr) -> std::io::Result<Self> {
        let listener = listen(address)?;
        drop_all(&SockRef::from(&listener));
        Ok(Self { _listener: listener })
    }
}
