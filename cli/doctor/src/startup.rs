//! Detects how the server asks for the password: from its first response to a start-up message.
//!
//! The driver does not expose it. No secret is sent: the connection is dropped at the server's request for one.

use shared::diagnostics::{FirstBytes, judge};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// PostgreSQL's protocol 3.0.
const PROTOCOL: i32 = 196_608;

/// The name doctor's sessions have in pg_stat_activity.
pub(super) const APPLICATION: &str = "seer doctor";

/// The authentication method that the server requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// None: trust, or the certificate was sufficient.
    Nothing,
    /// The password in clear text: a directory, PAM, an IAM token.
    ClearText,
    /// A salted MD5 hash, which PostgreSQL is going to remove.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// Kerberos, or another method that the driver does not support.
    Other,
    /// The server rejected the connection first; the log-in shows why.
    Unasked,
    /// The reply is none of PostgreSQL's.
    Foreign,
}

impl Method {
    /// Returns the method's name in pg_hba.conf.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no password asked for (trust)",
            Self::ClearText => "password in clear text",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::Other => "a method that the driver does not support",
            Self::Unasked => "unknown",
            Self::Foreign => "none",
        }
    }
}

/// Sends a start-up message and reads which authentication the server requires.
///
/// # Errors
/// Fails if the socket does.
pub(super) async fn method(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    user: &str,
    database: &str,
) -> std::io::Result<Method> {
    let mut message = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "application_name", APPLICATION] {
        message.extend_from_slice(text.as_bytes());
        message.push(0);
    }
    message.push(0);
    let length = u32::try_from(message.len() + 4).unwrap_or(u32::MAX);
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&message).await?;
    stream.flush().await?;
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    if let FirstBytes::Foreign(reply) = judge(&header, false) {
        // Only the log-in reads the text of a server that could not start a process.
        let text = header.starts_with(b"E") && !reply.no_process;
        return Ok(if text { Method::Unasked } else { Method::Foreign });
    }
    if header[0] != b'R' {
        return Ok(Method::Unasked);
    }
    Ok(match stream.read_u32().await? {
        0 => Method::Nothing,
        3 => Method::ClearText,
        5 => Method::Md5,
        10 => Method::Scram,
        _ => Method::Other,
    })
}
