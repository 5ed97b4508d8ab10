//! A connect whose TCP socket is tuned as soon as it exists: options, a timeout for each address of a name, and a check
//! of the server's first bytes.
//!
//! Without TCP_NODELAY a TLS connect stalls twice for a delayed ACK, 40 ms each time. sqlx 0.9.0 offers no hook between
//! opening the socket and the handshake, so [`Tuned`] polls the connect itself and compares the TCP sockets of this
//! process before and after each poll, until one that was opened in these polls is connected to the server's port.
//! Sockets that other code opens meanwhile do not end the search. Setting these options on a socket that another thread
//! opened in the same instant is harmless. Delete the options when a release of sqlx sets them (launchbadge/sqlx#4335,
//! #4336).
//!
//! Invariants: never reads a byte from the socket. A socket that is not found leaves the connect as it is, without
//! options and checks. Depends on: `socket` for the options, and `first_message` for the check of the first bytes.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, SocketType, shutdown, socket};
use tokio::time::{Instant, Sleep, sleep};

use super::first_message::{self, FirstBytes};
use super::socket::{SocketHandle, is_connecting, is_tcp, peer_port, socket_at, tune};
use crate::config::DatabaseUrl;

/// A new socket gets the lowest free descriptor number. The search covers this distance around it, because other
/// threads open and close descriptors too. A missed socket works, but starts more slowly and is not checked.
const DESCRIPTORS_AROUND: RawFd = 32;

/// The timeout of one of a name's addresses before the next is tried. A new attempt sends its SYN sooner than the
/// kernel would retransmit a lost one.
const ADDRESS_TIMEOUT: Duration = Duration::from_millis(750);

/// The wait for the rest of the first bytes. They arrive together, unless the path is very unusual.
const REST_OF_FIRST_BYTES: Duration = Duration::from_millis(5);

/// Held while a connect is polled and its socket is searched for, so that no connect takes another thread's socket for
/// its own. A poll does not wait, and few are needed until TCP is connected.
static TURN: Mutex<()> = Mutex::new(());

/// A connect whose sockets get their options as soon as they exist. Only connecting TCP has a timeout: 750 ms for each
/// address, or half of `connect_timeout` if that is shorter. Resolving the name, TLS and authentication have none here.
///
/// # Errors
/// Fails with the driver's error; with `TimedOut` if the last of the name's addresses has not accepted in time; and
/// with a [`first_message::ForeignReply`] if the server's first bytes are not PostgreSQL's.
///
/// # Cancel safety
/// Dropping it closes the socket.
pub struct Tuned<F> {
    connect: Pin<Box<F>>,
    /// The server's port, until its socket is found.
    port: Option<u16>,
    connect_timeout: Option<Duration>,
    /// The sockets that were opened in these polls and are still open.
    opened: Vec<SocketHandle>,
    /// The socket that is connected to the server, once found.
    socket: Option<SocketHandle>,
    /// The socket of the address being tried, and the time left for it.
    waiting: Option<(SocketHandle, Pin<Box<Sleep>>)>,
    /// The socket of the address that was abandoned last.
    given_up: Option<SocketHandle>,
    /// Whether the driver asks for TLS first; `None` once the server's first bytes were checked, or cannot be.
    unchecked: Option<bool>,
    /// The wait for the rest of the first bytes.
    rest: Option<Pin<Box<Sleep>>>,
}

impl<F> Tuned<F> {
    /// Wraps `connect`, which goes to `url` and must not have been polled. Over a Unix socket there is nothing to set.
    pub fn new(connect: F, url: &DatabaseUrl) -> Self {
        Self {
            connect: Box::pin(connect),
            port: (!url.is_socket()).then(|| url.address().1),
            connect_timeout: url.connect_timeout(),
            opened: Vec::new(),
            socket: None,
            waiting: None,
            given_up: None,
            unchecked: (!url.is_socket()).then(|| url.asks_for_tls()),
            rest: None,
        }
    }

    /// Returns the socket that is connected to the server, if it was found. `None` over a Unix socket.
    pub fn socket(&self) -> Option<SocketHandle> {
        self.socket
    }

    /// Tunes the sockets that were opened since `before` was taken, and searches for the server's among them.
    fn look(&mut self, port: u16, around: Range<RawFd>, before: &[SocketHandle]) {
        for (found, socket) in around.filter_map(socket_at) {
            if !before.contains(&found) && !self.opened.contains(&found) && is_tcp(socket) {
                tune(socket);
                self.opened.push(found);
            }
        }
        // A name with several addresses opens a socket for each in turn.
        self.opened.retain(|opened| opened.socket().is_some());
        let connected = |opened: &&SocketHandle| opened.socket().and_then(peer_port) == Some(port);
        self.socket = self.opened.iter().find(connected).copied();
        if self.socket.is_some() {
            self.port = None;
            self.waiting = None;
        }
    }

    /// Checks the server's first bytes before the driver reads them.
    fn check_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls_asked) = self.unchecked else {
            return Poll::Ready(Ok(()));
        };
        let connected = |opened: &&SocketHandle| {
            let peer = opened.socket().and_then(peer_port);
            peer.is_some() && peer == self.port
        };
        let Some(server) = self.socket.or_else(|| self.opened.iter().find(connected).copied()) else {
            return Poll::Ready(Ok(()));
        };
        let mut buffer = [0; first_message::ENOUGH];
        let Some(bytes) = server.first_bytes(&mut buffer) else {
            self.unchecked = None;
            return Poll::Ready(Ok(()));
        };
        match first_message::judge(bytes, tls_asked) {
            FirstBytes::Few if bytes.is_empty() => {}
            FirstBytes::Few => {
                let rest = self.rest.get_or_insert_with(|| Box::pin(sleep(REST_OF_FIRST_BYTES)));
                if rest.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.unchecked = None;
            }
            FirstBytes::Fine => self.unchecked = None,
            FirstBytes::Foreign(reply) => return Poll::Ready(Err(io::Error::other(reply))),
        }
        Poll::Ready(Ok(()))
    }

    /// Shuts down the socket of an address that has not accepted in time, so that the driver tries the next address.
    /// Returns true if the driver still waits for it afterwards: then the whole connect must fail.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let share = self
            .connect_timeout
            .map_or(ADDRESS_TIMEOUT, |whole| ADDRESS_TIMEOUT.min(whole / 2));
        let connecting = |opened: &&SocketHandle| opened.socket().is_some_and(is_connecting);
        let mut connecting = self.opened.iter().filter(connecting);
        // If there is a second one, it is not known which is the driver's.
        let (Some(address), None) = (connecting.next().copied(), connecting.next()) else {
            return false;
        };
        if self.waiting.as_ref().is_none_or(|(before, _)| *before != address) {
            self.waiting = Some((address, Box::pin(sleep(share))));
        }
        let Some((_, timer)) = &mut self.waiting else {
            return false;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        if self.given_up.replace(address) == Some(address) {
            return true;
        }
        // On a socket that is not connected this ends the connect with an error, which wakes the driver.
        let ended = address
            .socket()
            .is_some_and(|socket| shutdown(socket, Shutdown::Both).is_ok());
        timer.as_mut().reset(Instant::now() + share);
        !ended || timer.as_mut().poll(cx).is_ready()
    }
}

impl<F, T, E> Future for Tuned<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<io::Error>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.check_first_bytes(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(foreign)) => return Poll::Ready(Err(foreign.into())),
            Poll::Pending => return Poll::Pending,
        }
        // Authentication polls hundreds of times, so the search must end.
        let Some(port) = this.port else {
            return this.connect.as_mut().poll(cx);
        };
        let late = || E::from(io::Error::new(io::ErrorKind::TimedOut, "no address accepted in time"));
        let last_opened = this.opened.last().copied();
        let polled = {
            let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            let around = around_lowest_free();
            let before: Vec<_> = around.clone().filter_map(socket_at).map(|(found, _)| found).collect();
            let polled = this.connect.as_mut().poll(cx);
            this.look(port, around, &before);
            polled
        };
        match polled {
            Poll::Ready(Err(_)) if last_opened.is_some() && this.given_up == last_opened => Poll::Ready(Err(late())),
            Poll::Pending if this.port.is_some() && this.is_late(cx) => Poll::Ready(Err(late())),
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }
}

/// Returns the descriptor numbers among which the next socket's will be.
fn around_lowest_free() -> Range<RawFd> {
    match socket(AddressFamily::UNIX, SocketType::STREAM, None) {
        Ok(lowest) => {
            let lowest = lowest.as_raw_fd();
            (lowest - DESCRIPTORS_AROUND).max(0)..lowest.saturating_add(DESCRIPTORS_AROUND)
        }
        // No descriptor is free, so the driver will get none either.
        Err(_) => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::os::fd::AsFd as _;

    use local::postgres::{Cluster, Settings};
    use rustix::net::sockopt;
    use sqlx::{Connection as _, PgConnection};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    /// Starts a server that accepts and sends nothing.
    async fn server() -> (TcpListener, SocketAddr, DatabaseUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = DatabaseUrl::parse(&format!("postgres://u:p@{address}/d")).unwrap();
        (listener, address, url)
    }

    /// Opens a socket that belongs to no current connect.
    fn foreign(address: SocketAddr) -> std::net::TcpStream {
        let _turn = TURN.lock();
        std::net::TcpStream::connect(address).unwrap()
    }

    #[tokio::test]
    async fn only_the_futures_socket_is_tuned() {
        let (_listener, address, url) = server().await;
        let older = foreign(address);
        let stream = Tuned::new(TcpStream::connect(address), &url).await.unwrap();
        assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
        assert!(sockopt::socket_keepalive(stream.as_fd()).unwrap());
        assert!(!sockopt::tcp_nodelay(older.as_fd()).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn session_has_longer_than_a_log_in() {
        use super::super::socket::{LOG_IN_USER_TIMEOUT, TCP_USER_TIMEOUT};
        let (_listener, address, url) = server().await;
        let mut connect = Tuned::new(TcpStream::connect(address), &url);
        let stream = (&mut connect).await.unwrap();
        let limit = || Duration::from_millis(sockopt::tcp_user_timeout(stream.as_fd()).unwrap().into());
        assert_eq!(limit(), LOG_IN_USER_TIMEOUT);
        connect.socket().unwrap().set_up();
        assert_eq!(limit(), TCP_USER_TIMEOUT);
    }

    /// Another socket is connected while the server's name is looked up.
    #[tokio::test]
    async fn socket_is_found_after_name_lookup() {
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
        let sockets = (0..256).filter_map(socket_at).map(|(_, socket)| socket);
        let servers = sockets.filter(|socket| peer_port(*socket) == Some(cluster.port()));
        let found: Vec<_> = servers.map(sockopt::tcp_nodelay).collect();
        assert_eq!(found, [Ok(true)]);
        connection.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn two_connects_keep_their_sockets() {
        let (_listener, address, url) = server().await;
        let looked_up = Notify::new();
        let late = async {
            looked_up.notified().await;
            TcpStream::connect(address).await
        };
        let early = async {
            let early = Tuned::new(TcpStream::connect(address), &url).await;
            // The late connect searches once more, still without a socket of its own.
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
    async fn reused_descriptor_is_tuned() {
        let (_listener, address, url) = server().await;
        let older = foreign(address);
        let connect = async {
            drop(older);
            TcpStream::connect(address).await
        };
        let stream = Tuned::new(connect, &url).await.unwrap();
        assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
    }

    #[tokio::test]
    async fn high_descriptor_is_tuned() {
        let (_listener, address, url) = server().await;
        let many: Vec<_> = (0..400).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let stream = Tuned::new(TcpStream::connect(address), &url).await.unwrap();
        assert!(stream.as_raw_fd() > 400);
        assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
        drop(many);
    }

    /// Returns a listener with a full queue, so that the kernel drops further connects.
    fn full(address: SocketAddr) -> (std::os::fd::OwnedFd, Vec<std::net::TcpStream>) {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        (listener, std::iter::from_fn(connect).collect())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn dead_address_yields_to_the_next() {
        let (_listener, alive, url) = server().await;
        let dead = SocketAddr::from(([127, 0, 0, 2], alive.port()));
        let _full = full(dead);
        let also_dead = SocketAddr::from(([127, 0, 0, 3], alive.port()));
        let _also_full = full(also_dead);
        let refusing = SocketAddr::from(([127, 0, 0, 4], alive.port()));
        let unlimited = DatabaseUrl::parse(&format!("postgres://u:p@{alive}/d?connect_timeout=0")).unwrap();
        for addresses in [
            vec![dead, alive],
            vec![dead, also_dead, alive],
            vec![refusing, dead, alive],
            vec![dead, refusing, alive, also_dead],
            vec![alive, dead],
        ] {
            for url in [&url, &unlimited] {
                let mut connect = Tuned::new(TcpStream::connect(&addresses[..]), url);
                let stream = (&mut connect).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), alive);
                assert!(sockopt::tcp_nodelay(stream.as_fd()).unwrap());
            }
        }
        let alone = Tuned::new(TcpStream::connect(dead), &url).await.unwrap_err();
        assert_eq!(alone.kind(), io::ErrorKind::TimedOut);
    }
}
