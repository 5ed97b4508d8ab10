//! An environment's standard output and error, kept in a bounded buffer.
//!
//! Lambda writes both to one log stream, so one pipe carries both here, in the order written. Reading the lines first
//! drains the pipe, so that everything that a function wrote before its answer is available with the answer.
//! Invariants: never blocks, and discards the oldest lines when it is full.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::net::unix::pipe;

use super::lock;

/// Bytes of log lines kept for one environment.
const KEPT: usize = 128 * 1024;
/// A longer line is cut into pieces of this many bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// Receives a function's name and a line of its log. Must not block.
pub type Forward = fn(&str, &str);

pub(super) struct Log {
    kept: Mutex<Kept>,
    /// If set, called with this name and each line.
    forward: Option<(String, Forward)>,
}

#[derive(Default)]
struct Kept {
    /// Open until the log is closed, so that a closed log holds no descriptor.
    pipe: Option<Arc<pipe::Receiver>>,
    lines: VecDeque<String>,
    bytes: usize,
    unfinished: Vec<u8>,
}

impl Log {
    /// Creates the log and the two write ends for a child's standard output and error.
    ///
    /// # Errors
    /// Fails if no pipe can be created, because there are no free file descriptors.
    pub(super) fn new(forward: Option<(String, Forward)>) -> io::Result<(Self, Stdio, Stdio)> {
        let (reader, writer) = io::pipe()?;
        let second = writer.try_clone()?;
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let kept = Mutex::new(Kept {
            pipe: Some(Arc::new(pipe)),
            ..Kept::default()
        });
        let log = Self { kept, forward };
        Ok((log, writer.into(), second.into()))
    }

    /// Waits for output and reads it. Returns false once every write end is closed. Cancel safe.
    pub(super) async fn read(&self) -> bool {
        let Some(pipe) = lock(&self.kept).pipe.clone() else {
            return false;
        };
        pipe.readable().await.is_ok() && self.take(|pipe, buffer| pipe.try_read(buffer))
    }

    /// Returns the kept lines, oldest first, with everything written until now.
    pub(super) fn lines(&self) -> Vec<String> {
        // Read directly from the descriptor: the runtime may not have noticed yet that it is readable.
        self.take(|pipe, buffer| Ok(rustix::io::read(pipe, buffer)?));
        lock(&self.kept).lines.iter().cloned().collect()
    }

    /// Reads no more output; the lines stay.
    pub(super) fn close(&self) {
        lock(&self.kept).pipe = None;
    }

    /// Adds a line of the platform, as Lambda writes it into the function's log.
    pub(super) fn platform(&self, line: &str) {
        self.keep(&mut lock(&self.kept), line.as_bytes());
    }

    fn take(&self, read: impl Fn(&pipe::Receiver, &mut [u8]) -> io::Result<usize>) -> bool {
        let mut buffer = [0; 8 * 1024];
        let mut kept = lock(&self.kept);
        let Some(pipe) = kept.pipe.clone() else {
            return false;
        };
        loop {
            match read(&pipe, &mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.absorb(&mut kept, buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn absorb(&self, kept: &mut Kept, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            kept.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || kept.unfinished.len() >= LONGEST_LINE {
                let line = std::mem::take(&mut kept.unfinished);
                self.keep(kept, line.strip_suffix(b"\n").unwrap_or(&line));
            }
        }
    }

    fn keep(&self, kept: &mut Kept, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        if let Some((name, forward)) = &self.forward {
            forward(name, &line);
        }
        kept.bytes += line.len();
        kept.lines.push_back(line);
        while kept.bytes > KEPT {
            match kept.lines.pop_front() {
                Some(oldest) => kept.bytes -= oldest.len(),
                None => break,
            }
        }
    }
}
