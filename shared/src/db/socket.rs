//! Socket options that sqlx 0.9.0 does not set: TCP_NODELAY, keepalive, TCP_USER_TIMEOUT.
//!
//! Without TCP_NODELAY a TLS connect stalls twice for a delayed ACK, 40 ms each time. sqlx offers no hook between
//! opening the socket and the handshake, so [`Tuned`] polls the connect itself and, after each poll, looks for TCP
//! sockets that this process did not have before, until one of them is connected. Setting these options on a socket that
//! another thread opened in the same instant does no harm. To be deleted when a release of sqlx sets them (launchbadge/sqlx#4335, #4336).

use std::collections::BTreeSet;
use std::future::Future;
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

/// File descriptors looked at. A function holds a few dozen; beyond this the connect is merely slower.
const LOOKED_AT: RawFd = 256;

/// A peer that neither acknowledges data nor answers probes for this long is gone: short enough that a query on a
/// blackholed socket fails while its invocation still has time to run it again.
const PEER_GONE: Duration = Duration::from_secs(3);

/// Idle time before the first keepalive probe, and between probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A connect whose sockets get their options as soon as they exist.
pub struct Tuned<F> {
    connect: Pin<Box<F>>,
    known: BTreeSet<RawFd>,
    connected: bool,
}

impl<F: Future> Tuned<F> {
    /// Wraps `connect`, which must not have been polled.
    pub fn new(connect: F) -> Self {
        Self {
            connect: Box::pin(connect),
            known: tcp_sockets(|_, _| ()),
            connected: false,
        }
    }
}

impl<F: Future> Future for Tuned<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.connect.as_mut().poll(cx);
        // A name with several addresses opens a socket for each in turn; and authentication polls hundreds of times,
        // so the search must end.
        if !self.connected {
            let mut connected = false;
            tcp_sockets(|raw, socket| {
                if !self.known.contains(&raw) {
                    tune(socket);
                    connected |= rustix::net::getpeername(socket).is_ok();
                }
            });
            self.connected = connected;
        }
        polled
    }
}

/// Calls `seen` for each open TCP socket and returns their descriptors.
#[expect(unsafe_code, reason = "a descriptor number is all there is to find sqlx's socket by")]
fn tcp_sockets(mut seen: impl FnMut(RawFd, BorrowedFd<'_>)) -> BTreeSet<RawFd> {
    (0..LOOKED_AT)
        .filter(|&raw| {
            // SAFETY: the descriptor is only asked for its kind and given options, within this call; a closed number
            // answers EBADF, and a number reused meanwhile is a socket like any other that these options do not harm.
            let socket = unsafe { BorrowedFd::borrow_raw(raw) };
            let tcp = matches!(
                (sockopt::socket_type(socket), sockopt::socket_domain(socket)),
                (Ok(SocketType::STREAM), Ok(AddressFamily::INET | AddressFamily::INET6))
            );
            if tcp {
                seen(raw, socket);
            }
            tcp
        })
        .collect()
}

/// Best effort: a socket without an option still works, only slower to start or to fail.
fn tune(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepintvl(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
    #[cfg(target_os = "linux")]
    let _ = sockopt::set_tcp_user_timeout(socket, u32::try_from(PEER_GONE.as_millis()).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_socket_opened_in_the_wrapped_future_is_tuned_and_an_older_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let older = TcpStream::connect(address).await.unwrap();
        let stream = Tuned::new(TcpStream::connect(address)).await.unwrap();
        assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
        assert!(sockopt::socket_keepalive(stream.as_fd()).unwrap());
        assert!(!sockopt::tcp_nodelay(older.as_fd()).unwrap());
    }
}
