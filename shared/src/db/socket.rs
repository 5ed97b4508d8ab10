//! Socket options that sqlx 0.9.0 does not set: TCP_NODELAY, keepalive, TCP_USER_TIMEOUT.
//!
//! Without TCP_NODELAY a TLS connect stalls twice for a delayed ACK, 40 ms each time. sqlx offers no hook between
//! opening the socket and the handshake, so [`Tuned`] polls the connect itself and compares the TCP sockets of this
//! process before and after each poll, until one that was opened in these polls is connected to the server's port.
//! Sockets of others that are opened meanwhile do not end the search. Setting these options on one that another thread
//! opened in the same instant does no harm. To be deleted when a release of sqlx sets them (launchbadge/sqlx#4335,
//! #4336).

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};

use crate::config::DatabaseUrl;

/// File descriptors looked at. A function holds a few dozen; beyond this the connect is merely slower.
const LOOKED_AT: RawFd = 256;

/// A peer that neither acknowledges data nor answers probes for this long is gone: short enough that a query on a
/// blackholed socket fails while its invocation still has time to run it again.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle time before the first keepalive probe, and between probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Held from before such a poll until after it, so that no connect takes another thread's socket for its own. Polls do
/// not wait, and there are few until a connection stands.
static TURN: Mutex<()> = Mutex::new(());

/// A socket's inode: its descriptor's number goes to the next socket as soon as it is closed.
type Inode = u64;

/// A connect whose sockets get their options as soon as they exist.
pub struct Tuned<F> {
    connect: Pin<Box<F>>,
    /// The server's, while its connection is looked for.
    port: Option<u16>,
    opened: BTreeSet<Inode>,
}

impl<F: Future> Tuned<F> {
    /// Wraps `connect`, which goes to `url` and must not have been polled. Over a Unix socket there is nothing to set.
    pub fn new(connect: F, url: &DatabaseUrl) -> Self {
        Self {
            connect: Box::pin(connect),
            port: (!url.is_socket()).then(|| url.address().1),
            opened: BTreeSet::new(),
        }
    }
}

impl<F: Future> Future for Tuned<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Authentication polls hundreds of times, so the search must end.
        let Some(port) = this.port else {
            return this.connect.as_mut().poll(cx);
        };
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = BTreeSet::new();
        tcp_sockets(|inode, _| {
            before.insert(inode);
        });
        let polled = this.connect.as_mut().poll(cx);
        tcp_sockets(|inode, socket| {
            if !before.contains(&inode) {
                tune(socket);
                this.opened.insert(inode);
            }
            // A name with several addresses opens a socket for each in turn.
            if this.opened.contains(&inode) && peer_port(socket) == Some(port) {
                this.port = None;
            }
        });
        polled
    }
}

/// Calls `seen` for each open TCP socket.
#[expect(unsafe_code, reason = "a descriptor number is all there is to find sqlx's socket by")]
fn tcp_sockets(mut seen: impl FnMut(Inode, BorrowedFd<'_>)) {
    for raw in 0..LOOKED_AT {
        // SAFETY: the descriptor is only asked what it is and given options, within this call; a closed number answers
        // EBADF, and a number reused meanwhile is a socket like any other that these options do not harm.
        let socket = unsafe { BorrowedFd::borrow_raw(raw) };
        let tcp = sockopt::socket_type(socket) == Ok(SocketType::STREAM)
            && matches!(
                sockopt::socket_domain(socket),
                Ok(AddressFamily::INET | AddressFamily::INET6)
            );
        if tcp && let Ok(status) = fstat(socket) {
            seen(status.st_ino, socket);
        }
    }
}

/// The port at the other end, once there is one.
fn peer_port(socket: BorrowedFd<'_>) -> Option<u16> {
    let peer = SocketAddr::try_from(getpeername(socket).ok()??).ok()?;
    Some(peer.port())
}

/// Best effort: a socket without an option still works, only slower to start or to fail.
fn tune(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepintvl(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
    #[cfg(target_os = "linux")]
    let _ = sockopt::set_tcp_user_timeout(socket, u32::try_from(TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use local::postgres::{Cluster, Settings};
    use sqlx::{Connection as _, PgConnection};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    /// A server that accepts and says nothing.
    async fn server() -> (TcpListener, SocketAddr, DatabaseUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = DatabaseUrl::parse(&format!("postgres://u:p@{address}/d")).unwrap();
        (listener, address, url)
    }

    /// A socket that no connect under way opened.
    fn foreign(address: SocketAddr) -> std::net::TcpStream {
        let _turn = TURN.lock();
        std::net::TcpStream::connect(address).unwrap()
    }

    #[tokio::test]
    async fn a_socket_opened_in_the_wrapped_future_is_tuned_and_an_older_one_is_not() {
        let (_listener, address, url) = server().await;
        let older = foreign(address);
        let stream = Tuned::new(TcpStream::connect(address), &url).await.unwrap();
        assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
        assert!(sockopt::socket_keepalive(stream.as_fd()).unwrap());
        assert!(!sockopt::tcp_nodelay(older.as_fd()).unwrap());
    }

    #[tokio::test]
    async fn the_servers_socket_is_found_though_another_is_connected_while_its_name_is_looked_up() {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        let url = DatabaseUrl::parse(&cluster.url().replace("127.0.0.1", "localhost")).unwrap();
        let options = url.connect_options("test");
        let (_listener, elsewhere, _) = server().await;
        let looked_up = Notify::new();
        let connect = async {
            looked_up.notified().await;
            #[expect(
                clippy::disallowed_methods,
                reason = "its socket is looked at, with none of the limits"
            )]
            PgConnection::connect_with(&options).await
        };
        let other = async {
            let other = TcpStream::connect(elsewhere).await;
            looked_up.notify_one();
            other
        };
        let (connection, _other) = tokio::join!(Tuned::new(connect, &url), other);
        let mut found = Vec::new();
        tcp_sockets(|_, socket| {
            if peer_port(socket) == Some(cluster.port()) {
                found.push(sockopt::tcp_nodelay(socket));
            }
        });
        assert_eq!(found, [Ok(true)]);
        connection.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn one_of_two_connects_to_a_server_is_not_taken_for_the_other() {
        let (_listener, address, url) = server().await;
        let looked_up = Notify::new();
        let late = async {
            looked_up.notified().await;
            TcpStream::connect(address).await
        };
        let early = async {
            let early = Tuned::new(TcpStream::connect(address), &url).await;
            // The late one looks around once more, still without a socket of its own.
            tokio::task::yield_now().await;
            looked_up.notify_one();
            early
        };
        let (late, early) = tokio::join!(Tuned::new(late, &url), early);
        for stream in [late, early] {
            assert!(sockopt::tcp_nodelay(stream.unwrap().as_fd()).unwrap());
        }
    }

    #[tokio::test]
    async fn a_socket_that_gets_the_number_of_an_older_one_is_tuned() {
        let (_listener, address, url) = server().await;
        let older = foreign(address);
        let connect = async {
            drop(older);
            TcpStream::connect(address).await
        };
        let stream = Tuned::new(connect, &url).await.unwrap();
        assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
    }
}
