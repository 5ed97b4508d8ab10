//! The first bytes that a server sends, before the driver reads them.
//!
//! The driver takes the length of a message from its header and allocates that much before the message has arrived. A
//! server that cannot start another process replies with plain text, and so do services of other protocols; the text's
//! letters would be a length of more than a gigabyte. Invariants: never reads from the socket; accepts every message
//! that PostgreSQL or a pooler can begin with. Depends on: nothing but the protocol.

use std::fmt;

/// The longest first message that is accepted: an error with all its fields. libpq has the same limit.
pub(crate) const LONGEST: u32 = 30_000;

/// The bytes that a driver expects from a server that cannot start a process, which says "Ecould not fork": the letter,
/// and the length that it reads in the four after it.
pub(crate) const NO_PROCESS: u32 = 1 + u32::from_be_bytes(*b"coul");

/// How many bytes are enough to judge, and to show the text of a reply that is none of PostgreSQL's.
pub(crate) const ENOUGH: usize = 200;

/// Whether the first bytes are PostgreSQL's.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// Too few to tell.
    Few,
    /// The start of a reply of PostgreSQL's protocol.
    Fine,
    /// Something else.
    Foreign(ForeignReply),
}

/// A reply that is no message of PostgreSQL's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignReply {
    /// The reply's first line, without control characters.
    text: String,
    /// The text of a server that could not start a process for the connection.
    pub no_process: bool,
}

impl fmt::Display for ForeignReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.no_process {
            return f.write_str(&self.text);
        }
        write!(f, "the reply is not PostgreSQL's protocol: {:?}", self.text)
    }
}

impl std::error::Error for ForeignReply {}

/// Judges the first bytes. `tls_asked`: the client sent a request for TLS, which one letter answers.
pub fn judge(bytes: &[u8], tls_asked: bool) -> FirstBytes {
    if bytes.is_empty() || !tls_asked && bytes.len() < 5 && known(bytes[0]) {
        return FirstBytes::Few;
    }
    // The server sends nothing after the letter until the client does.
    if tls_asked && matches!(bytes, b"S" | b"N") {
        return FirstBytes::Fine;
    }
    let length = bytes.get(1..5).and_then(|length| length.try_into().ok());
    let plausible = length.is_none_or(|length| (4..=LONGEST).contains(&u32::from_be_bytes(length)));
    if known(bytes[0]) && plausible {
        return FirstBytes::Fine;
    }
    let no_process = bytes.starts_with(b"Ecould not fork");
    // The letter of an error message of old, after which the text ends with NUL.
    let text = if no_process { &bytes[1..] } else { bytes };
    let line = text.split(|byte| b"\r\n\0".contains(byte)).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let text = line.chars().filter(|letter| !letter.is_control()).take(100).collect();
    FirstBytes::Foreign(ForeignReply { text, no_process })
}

/// Returns whether a server's first message can have this type: a request for authentication, an error, a notice, or
/// the protocol version that the server supports.
fn known(kind: u8) -> bool {
    matches!(kind, b'R' | b'E' | b'N' | b'v')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_protocol_are_fine() {
        for bytes in [
            &b"R\0\0\0\x08\0\0\0\0"[..],
            b"R\0\0\0\x17",
            b"E\0\0\x01\0SFATAL\0",
            b"N\0\0\0\x40SWARNING\0",
            b"v\0\0\0\x0c\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(judge(bytes, false), FirstBytes::Fine, "{bytes:?}");
        }
        for bytes in [&b"S"[..], b"N", b"E", b"E\0\0\x01\0SFATAL\0"] {
            assert_eq!(judge(bytes, true), FirstBytes::Fine, "{bytes:?}");
        }
    }

    #[test]
    fn few_bytes_are_not_judged() {
        for bytes in [&b""[..], b"R", b"R\0\0\0", b"E\0"] {
            assert_eq!(judge(bytes, false), FirstBytes::Few, "{bytes:?}");
        }
        assert_eq!(judge(b"", true), FirstBytes::Few);
    }

    #[test]
    fn text_is_foreign() {
        let fork = &b"Ecould not fork new process for connection: Cannot allocate memory\n\0"[..];
        for (bytes, text, no_process) in [
            (
                fork,
                "could not fork new process for connection: Cannot allocate memory",
                true,
            ),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad Request", false),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2", false),
            (b"220 mail.example.com ESMTP", "220 mail.example.com ESMTP", false),
            (b"-ERR unknown command", "-ERR unknown command", false),
            (b"J\0\0\0\x0a8.0.36\0", "J", false),
            (b"R\x7f\xff\xff\xff", "R\u{fffd}\u{fffd}\u{fffd}", false),
            (b"E\0\0\0\x03", "E", false),
        ] {
            for tls_asked in [false, true] {
                let FirstBytes::Foreign(reply) = judge(bytes, tls_asked) else {
                    panic!("{text}");
                };
                assert_eq!((reply.text.as_str(), reply.no_process), (text, no_process));
            }
        }
    }
}
