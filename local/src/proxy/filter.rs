//! A socket filter that drops what arrives; Linux only, and without effect elsewhere.

use socket2::SockRef;

/// A classic BPF program of one instruction: return 0, keep nothing.
#[cfg(target_os = "linux")]
pub(super) fn drop_all(socket: &SockRef<'_>) {
    const RETURN: u16 = 0x06;
    let _ = socket.attach_filter(&[socket2::SockFilter::new(RETURN, 0, 0, 0)]);
}

#[cfg(target_os = "linux")]
pub(super) fn keep_all(socket: &SockRef<'_>) {
    let _ = socket.detach_filter();
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_all(_: &SockRef<'_>) {}

#[cfg(not(target_os = "linux"))]
pub(super) fn keep_all(_: &SockRef<'_>) {}
