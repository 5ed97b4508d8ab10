//! What new connections meet, and the task that lets them in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Shared, line, lock};

/// What a new connection meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The server.
    Open,
    /// Nothing listens.
    Refused,
    /// Nothing answers: SYNs are swallowed. Linux; elsewhere as [`Door::Held`].
    Swallowed,
    /// It is accepted and reset.
    Reset,
    /// It is accepted, and nothing ever comes.
    Held,
    /// It is accepted, and reaches the server this many milliseconds later.
    Slow(u64),
}

/// Lets connections in as the door says, until aborted, and tells `in_force` what it does now. Refusing closes the
/// listener; the port is taken again after.
pub(super) async fn keep(
    listener: TcpListener,
    mut door: watch::Receiver<Door>,
    in_force: watch::Sender<Door>,
    shared: Arc<Shared>,
) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    let mut lines = JoinSet::new();
    let mut held = Vec::new();
    loop {
        let now = *door.borrow_and_update();
        if now == Door::Refused {
            listener = None;
            in_force.send_replace(now);
            if door.changed().await.is_err() {
                return;
            }
            continue;
        }
        if listener.is_none() {
            listener = listen(address).ok();
        }
        let Some(open) = &listener else {
            // The port may be in use for a moment by a connection that the system gave it to.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let socket = SockRef::from(open);
        if now == Door::Swallowed {
            drop_all(&socket);
        } else {
            keep_all(&socket);
        }
        if now == Door::Open {
            held.clear();
        }
        in_force.send_replace(now);
        let accepted = tokio::select! {
            accepted = open.accept() => accepted,
            changed = door.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            Some(_) = lines.join_next() => continue,
        };
        let Ok((client, _)) = accepted else { continue };
        let upstream = *lock(&shared.upstream);
        match now {
            Door::Open => {
                lines.spawn(line::carry(client, upstream, Arc::clone(&shared)));
            }
            Door::Slow(milliseconds) => {
                let shared = Arc::clone(&shared);
                lines.spawn(async move {
                    sleep(Duration::from_millis(milliseconds)).await;
                    line::carry(client, upstream, shared).await;
                });
            }
            Door::Reset => {
                let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            }
            Door::Held | Door::Swallowed | Door::Refused => held.push(client),
        }
    }
}

/// Binds `address` again at once after a close.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // A burst of a thousand cold starts connects at once.
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// A classic BPF program of one instruction: return 0, keep nothing.
#[cfg(target_os = "linux")]
pub(super) fn drop_all(socket: &SockRef<'_>) {
    const RETURN: u16 = 0x06;
    let _ = socket.attach_filter(&[socket2::SockFilter::new(RETURN, 0, 0, 0)]);
}

#[cfg(target_os = "linux")]
fn keep_all(socket: &SockRef<'_>) {
    let _ = socket.detach_filter();
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_all(_: &SockRef<'_>) {}

#[cfg(not(target_os = "linux"))]
fn keep_all(_: &SockRef<'_>) {}
