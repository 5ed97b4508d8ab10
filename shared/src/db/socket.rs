//! A TCP socket that sqlx owns and does not expose: its options, and what the server has sent.
//!
//! Invariants: never reads a byte. A handle whose socket was closed finds nothing, because a descriptor's number is
//! reused. Depends on: Linux for the counts of bytes; elsewhere they are unknown.

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{AddressFamily, RecvFlags, SocketType, getpeername, getsockname, recv, sockopt};

/// A peer that neither acknowledges data nor answers probes for this long is considered dead: short enough that a query
/// on a blackholed socket fails while its invocation still has time to retry it.
pub(super) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// The same until the session is set up. A log-in has no witness, and its few bytes are acknowledged by the server's
/// kernel, however busy its processes are.
pub(super) const LOG_IN_USER_TIMEOUT: Duration = Duration::from_secs(1);

/// Idle time before the first keepalive probe, and between probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A TCP socket that the driver owns: its descriptor, and its inode, because a closed descriptor's number is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketHandle {
    descriptor: RawFd,
    inode: u64,
}

/// The state of a socket that is not being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing, or the socket was not found. Whether the peer is alive is unknown.
    Quiet,
    /// Unexpected bytes: a notice, or the server's last message.
    Readable,
    /// The peer has closed or reset it, or the kernel has given it up.
    Closed,
}

impl SocketHandle {
    /// Checks for received bytes without reading them. One system call more than finding the socket; never waits.
    pub fn peek(self) -> Peek {
        let Some(socket) = self.socket() else {
            return Peek::Quiet;
        };
        match recv(socket, &mut [0_u8][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Peek::Closed,
            Ok(_) => Peek::Readable,
            Err(Errno::AGAIN) => Peek::Quiet,
            Err(_) => Peek::Closed,
        }
    }

    /// Raises the time in which the peer must acknowledge data to that of a session; called once the session is set up.
    pub fn set_up(self) {
        if let Some(socket) = self.socket() {
            set_user_timeout(socket, TCP_USER_TIMEOUT);
        }
    }

    /// Returns how many bytes the peer has acknowledged and sent so far; `None` on systems other than Linux. A slow
    /// transfer makes progress; a path that hangs acknowledges at once, and then sends nothing.
    pub fn transferred(self) -> Option<u64> {
        let (acknowledged, received) = self.bytes()?;
        Some(acknowledged.wrapping_add(received))
    }

    /// Returns the first bytes that the peer sent, as long as the driver has read none of them; `None` once it has, if
    /// the peer closed the connection first, and on systems other than Linux.
    pub(super) fn first_bytes(self, buffer: &mut [u8]) -> Option<&[u8]> {
        let socket = self.socket()?;
        let (_, received) = self.bytes()?;
        if received > ioctl_fionread(socket).ok()? {
            return None;
        }
        match recv(socket, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            // Closed, before it sent anything.
            Ok((_, 0)) => None,
            Ok((_, length)) => buffer.get(..length),
            Err(Errno::AGAIN) => Some(&[]),
            Err(_) => None,
        }
    }

    /// Returns how many bytes the peer has acknowledged, and how many it has sent.
    #[cfg(target_os = "linux")]
    fn bytes(self) -> Option<(u64, u64)> {
        use std::os::fd::AsRawFd as _;
        // `struct tcp_info` (linux/tcp.h), which only grows: tcpi_state, tcpi_bytes_acked and tcpi_bytes_received.
        const STATE: usize = 0;
        const ESTABLISHED: u8 = 1;
        const BYTES_ACKED: usize = 120;
        const BYTES_RECEIVED: usize = 128;
        let socket = self.socket()?;
        let mut info = [0_u8; 256];
        let mut length = libc::socklen_t::try_from(info.len()).ok()?;
        #[expect(unsafe_code, reason = "no safe wrapper returns these fields")]
        // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes, which `info` has.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let field = |at: usize| {
            let bytes = info
                .get(at..at + 8)
                .filter(|_| usize::try_from(length).is_ok_and(|length| at + 8 <= length));
            bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes)
        };
        if failed != 0 {
            return None;
        }
        // The end of the stream counts as one byte received.
        let end = u64::from(info[STATE] != ESTABLISHED);
        Some((field(BYTES_ACKED)?, field(BYTES_RECEIVED)?.saturating_sub(end)))
    }

    /// Not available on this system.
    #[cfg(not(target_os = "linux"))]
    fn bytes(self) -> Option<(u64, u64)> {
        None
    }

    /// Returns the socket, unless it has been closed.
    pub(super) fn socket(self) -> Option<BorrowedFd<'static>> {
        socket_at(self.descriptor)
            .filter(|(found, _)| *found == self)
            .map(|(_, socket)| socket)
    }
}

/// Returns the open socket with this descriptor's number. One system call.
#[expect(unsafe_code, reason = "a descriptor number is all there is to find sqlx's socket by")]
pub(super) fn socket_at(descriptor: RawFd) -> Option<(SocketHandle, BorrowedFd<'static>)> {
    // SAFETY: the number is not negative. The socket's type is queried, its received bytes are checked, options are
    // set, and it is shut down if it is the driver's and not connected; a closed number answers EBADF. It is used at
    // once, and a number that is reused in between is another socket that the check and these options do not harm.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let status = fstat(socket).ok()?;
    let inode = status.st_ino;
    (FileType::from_raw_mode(status.st_mode) == FileType::Socket)
        .then_some((SocketHandle { descriptor, inode }, socket))
}

/// Returns whether it is a TCP socket.
pub(super) fn is_tcp(socket: BorrowedFd<'_>) -> bool {
    sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && matches!(
            sockopt::socket_domain(socket),
            Ok(AddressFamily::INET | AddressFamily::INET6)
        )
}

/// Returns the peer's port, once connected.
pub(super) fn peer_port(socket: BorrowedFd<'_>) -> Option<u16> {
    let peer = SocketAddr::try_from(getpeername(socket).ok()??).ok()?;
    Some(peer.port())
}

/// Returns whether it is connecting: it has a local address and no peer, and does not listen.
pub(super) fn is_connecting(socket: BorrowedFd<'_>) -> bool {
    let local = getsockname(socket)
        .ok()
        .and_then(|local| SocketAddr::try_from(local).ok());
    local.is_some_and(|local| local.port() != 0)
        && peer_port(socket).is_none()
        && sockopt::socket_acceptconn(socket) == Ok(false)
}

/// Sets the options as far as possible: a socket without one still works, but starts or fails more slowly.
pub(super) fn tune(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepintvl(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
    set_user_timeout(socket, LOG_IN_USER_TIMEOUT);
}

#[cfg(target_os = "linux")]
fn set_user_timeout(socket: BorrowedFd<'_>, time: Duration) {
    let _ = sockopt::set_tcp_user_timeout(socket, u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
}

#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: BorrowedFd<'_>, _: Duration) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
    use tokio::net::{TcpListener, TcpStream};

    /// Waits for a state of the socket that the kernel will reach.
    async fn peeked(handle: SocketHandle, expected: Peek) {
        while handle.peek() != expected {
            tokio::task::yield_now().await;
        }
    }

    /// Returns a connection's two ends, and the handle of the client's.
    async fn connected() -> (TcpStream, SocketHandle, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = stream.unwrap();
        let (handle, _) = socket_at(stream.as_raw_fd()).unwrap();
        (stream, handle, accepted.unwrap().0)
    }

    /// The letter that accepts TLS may be read in the same poll in which it was requested: what follows is not first.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn first_bytes_end_with_the_first_one_read() {
        for (read, ends) in [(0, false), (0, true), (1, false), (1, true)] {
            let (mut stream, handle, mut server) = connected().await;
            assert_eq!(handle.first_bytes(&mut [0; 8]), Some(&[][..]));
            server.write_all(b"S\x16\x03\x03").await.unwrap();
            if ends {
                server.shutdown().await.unwrap();
            }
            stream.read_exact(&mut [0; 1][..read]).await.unwrap();
            // Until the rest, and the end, have arrived.
            let whole = async || {
                let ended = stream.ready(Interest::READABLE).await.unwrap().is_read_closed();
                ended == ends && ioctl_fionread(&stream) == Ok(4 - read as u64)
            };
            while !whole().await {
                tokio::task::yield_now().await;
            }
            let expected = (read == 0).then_some(&b"S\x16\x03\x03"[..]);
            assert_eq!(handle.first_bytes(&mut [0; 8]), expected, "{read} read, ends: {ends}");
        }
    }

    #[tokio::test]
    async fn peek_reports_the_socket_state() {
        let (stream, handle, server) = connected().await;
        assert_eq!(handle.peek(), Peek::Quiet);
        server.writable().await.unwrap();
        assert_eq!(server.try_write(b"notice").unwrap(), 6);
        peeked(handle, Peek::Readable).await;
        let mut bytes = [0; 6];
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut bytes).unwrap(), 6);
        drop(server);
        peeked(handle, Peek::Closed).await;
        // Another socket with the same number is not this one.
        drop(stream);
        assert_eq!(handle.peek(), Peek::Quiet);
    }
}
