//! Splits a PostgreSQL byte stream into messages (manual, "Message Formats").
//!
//! A client's stream begins with untyped messages: SSLRequest, GSSENCRequest, then the start-up. Bytes that cannot be
//! parsed, above all TLS, are forwarded unchanged.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

/// An error with which a log-in is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Five characters.
    pub sqlstate: &'static str,
    /// The server's message.
    pub message: &'static str,
}

/// A longer message is not PostgreSQL's: the stream is TLS.
const LONGEST: usize = 1 << 30;

/// Free bytes before each read. A message that is read in parts is delayed once for each.
const ROOM: usize = 64 * 1024;

/// SSLRequest and GSSENCRequest: another untyped message follows.
const REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A client's first messages.
    Untyped,
    /// A server's first byte: it may answer SSLRequest.
    Answer,
    Typed,
    Opaque,
}

impl Frames {
    /// Parses a client's stream.
    pub(super) fn of_client() -> Self {
        Self {
            buffer: BytesMut::new(),
            stage: Stage::Untyped,
        }
    }

    /// Parses a server's stream.
    pub(super) fn of_server() -> Self {
        Self {
            buffer: BytesMut::new(),
            stage: Stage::Answer,
        }
    }

    /// Returns whether messages have types; the start-up and unparsable streams have none.
    pub(super) fn is_typed(&self) -> bool {
        self.stage == Stage::Typed
    }

    /// Returns the buffer to read into, with room for all that arrived together.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(ROOM);
        &mut self.buffer
    }

    /// Returns the next complete message, including type and length.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let header = match self.stage {
            Stage::Untyped => 0,
            Stage::Typed => 1,
            Stage::Answer => {
                match self.buffer.first()? {
                    b'N' => return Some(self.buffer.split_to(1).freeze()),
                    b'S' => self.stage = Stage::Opaque,
                    _ => self.stage = Stage::Typed,
                }
                return self.next();
            }
            Stage::Opaque => return (!self.buffer.is_empty()).then(|| self.buffer.split().freeze()),
        };
        let mut length = self.buffer.get(header..header + 4)?;
        let length = length.get_u32() as usize + header;
        if !(4..LONGEST).contains(&length) || (header == 0 && self.buffer.first() == Some(&0x16)) {
            self.stage = Stage::Opaque;
            return self.next();
        }
        if self.buffer.len() < length {
            return None;
        }
        let frame = self.buffer.split_to(length).freeze();
        if self.stage == Stage::Untyped && !asks_for_encryption(&frame) {
            self.stage = Stage::Typed;
        }
        Some(frame)
    }
}

/// Returns whether a client's message is SSLRequest or GSSENCRequest, which is answered by one byte.
pub(super) fn asks_for_encryption(frame: &[u8]) -> bool {
    frame
        .get(4..8)
        .is_some_and(|mut code| REQUESTS.contains(&code.get_u32()))
}

/// Returns a server's rejection of a connection (manual, "ErrorResponse").
pub(super) fn fatal(sqlstate: &str, message: &str) -> Bytes {
    let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat().into()
}

/// Returns whether a client's message is a simple query that ends in COMMIT.
pub(super) fn is_commit(frame: &[u8]) -> bool {
    let text = frame
        .strip_prefix(b"Q")
        .and_then(|rest| rest.get(4..))
        .unwrap_or_default();
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    text.trim_ascii()
        .strip_suffix(b";")
        .unwrap_or(text)
        .trim_ascii()
        .to_ascii_uppercase()
        .ends_with(b"COMMIT")
}

/// Replaces the `idle_session_timeout` among the options of a client's start-up message, if it has one. The value keeps
/// its length, with decimals, and so does the message.
pub(super) fn with_idle_session_timeout(frame: Bytes, timeout: Duration) -> Bytes {
    const NAME: &[u8] = b"idle_session_timeout=";
    let startup = frame.first() == Some(&0) && frame.get(4..6) == Some(&[0, 3]);
    let Some(at) = startup
        .then(|| frame.windows(NAME.len()).position(|window| window == NAME))
        .flatten()
    else {
        return frame;
    };
    let mut rewritten = BytesMut::from(&*frame);
    let value = rewritten.get_mut(at + NAME.len()..).unwrap_or_default();
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut text = timeout.as_millis().to_string();
    // Decimals, because a leading zero would make it octal (PostgreSQL's `parse_int`).
    while text.len() < digits {
        text.push(if text.contains('.') { '0' } else { '.' });
    }
    if text.len() == digits {
        value
            .iter_mut()
            .zip(text.bytes())
            .for_each(|(byte, digit)| *byte = digit);
    }
    rewritten.freeze()
}

/// Returns the text of the statement that a client's Parse message prepares.
pub(super) fn prepares(frame: &[u8]) -> Option<&[u8]> {
    parse(frame).map(|[_, text, _]| text)
}

/// Returns a client's Parse message with another text.
pub(super) fn with_text(frame: &[u8], text: &[u8]) -> Option<Bytes> {
    let [name, _, types] = parse(frame)?;
    let fields = [name, b"\0", text, b"\0", types].concat();
    let length = u32::try_from(fields.len() + 4).ok()?;
    Some([&b"P"[..], &length.to_be_bytes(), &fields].concat().into())
}

/// Returns the statement's name, its text and the types of its parameters.
fn parse(frame: &[u8]) -> Option<[&[u8]; 3]> {
    let mut fields = frame.strip_prefix(b"P")?.get(4..)?.splitn(3, |byte| *byte == 0);
    Some([fields.next()?, fields.next()?, fields.next()?])
}

/// Returns the SQLSTATE of a server's ErrorResponse (manual, "Error and Notice Message Fields").
pub(super) fn sqlstate(frame: &[u8]) -> Option<&str> {
    let fields = frame.strip_prefix(b"E")?.get(4..)?;
    let code = fields
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"C"))?;
    std::str::from_utf8(code).ok()
}

/// Returns whether a server's message is ReadyForQuery.
pub(super) fn is_ready(frame: &[u8]) -> bool {
    frame.first() == Some(&b'Z') && frame.len() == 6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(sql: &str) -> Vec<u8> {
        let length = u32::try_from(sql.len() + 5).unwrap();
        [b"Q".as_slice(), &length.to_be_bytes(), sql.as_bytes(), b"\0"].concat()
    }

    #[test]
    fn only_real_commits_are_recognized() {
        assert!(is_commit(&query("INSERT INTO t VALUES (1);SET LOCAL x = 0;COMMIT")));
        assert!(is_commit(&query("commit;")));
        assert!(!is_commit(&query("SELECT 'COMMIT' AS word")));
        assert!(!is_commit(&query("BEGIN")));
    }

    #[test]
    fn only_errors_have_a_sqlstate() {
        let error = b"E\0\0\0\x1eSFATAL\0VFATAL\0C53300\0MCx\0\0";
        assert_eq!(sqlstate(error), Some("53300"));
        assert_eq!(sqlstate(&fatal("XX000", "retry")), Some("XX000"));
        assert_eq!(sqlstate(b"N\0\0\0\x0cC01000\0\0"), None);
        assert_eq!(sqlstate(b"Z\0\0\0\x05I"), None);
    }

    #[test]
    fn startup_timeout_keeps_its_length() {
        let startup = |value: &str| {
            let rest = format!("user\0a\0options\0-c idle_session_timeout={value} -c x=1\0\0");
            let length = u32::try_from(rest.len() + 8).unwrap();
            Bytes::from([&length.to_be_bytes()[..], &196_608u32.to_be_bytes(), rest.as_bytes()].concat())
        };
        let five = Duration::from_secs(5);
        assert_eq!(with_idle_session_timeout(startup("600000"), five), startup("5000.0"));
        assert_eq!(with_idle_session_timeout(startup("60"), five), startup("60"));
        let text = Bytes::from(query("SELECT 'idle_session_timeout=600000'"));
        assert_eq!(with_idle_session_timeout(text.clone(), five), text);
    }

    #[test]
    fn prepared_text_is_replaced() {
        let parse = |text: &str| {
            let fields = format!("s1\0{text}\0\0\x01\0\0\0\x14");
            let length = u32::try_from(fields.len() + 4).unwrap();
            [b"P".as_slice(), &length.to_be_bytes(), fields.as_bytes()].concat()
        };
        assert_eq!(prepares(&parse("SELECT $1")), Some(&b"SELECT $1"[..]));
        assert_eq!(
            with_text(&parse("SELECT $1"), b"SELECT $1 + 1").unwrap(),
            parse("SELECT $1 + 1")
        );
        assert_eq!(prepares(&query("SELECT 1")), None);
    }

    #[test]
    fn split_messages_come_out_whole() {
        let startup = [&20u32.to_be_bytes()[..], &196_608u32.to_be_bytes(), b"user\0seer\0\0\0"].concat();
        let startup = [&u32::try_from(startup.len()).unwrap().to_be_bytes()[..], &startup[4..]].concat();
        let ssl = [8u32.to_be_bytes(), REQUESTS[0].to_be_bytes()].concat();
        let stream = [ssl.clone(), startup.clone(), query("BEGIN"), query("COMMIT")].concat();
        for chunk in [1, 3, stream.len()] {
            let mut frames = Frames::of_client();
            let mut seen = Vec::new();
            for bytes in stream.chunks(chunk) {
                frames.buffer().extend_from_slice(bytes);
                while let Some(frame) = frames.next() {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(
                seen,
                [ssl.clone(), startup.clone(), query("BEGIN"), query("COMMIT")],
                "chunks of {chunk}"
            );
        }
    }
}
