//! Groups a client's messages into requests. The server ends its reply to each with one ReadyForQuery.
//!
//! Tracks the statements that a connection has prepared, by name, so that it can identify the statement of a Bind.

use std::collections::HashMap;

use bytes::Bytes;

use super::frames::is_commit;

/// The requests that an order applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// A simple query that ends in COMMIT.
    Commits,
    /// A request that runs a statement whose text contains this, for example the name of a table. In the extended
    /// protocol that is the Bind of a statement prepared on this connection, by any name, now or before; preparing
    /// alone does not count. Every statement contains the empty text.
    Containing(&'static str),
}

/// Messages that are forwarded together.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// In the order of arrival.
    pub(super) frames: Vec<Bytes>,
    /// Whether the server ends its answer with ReadyForQuery.
    pub(super) answered: bool,
    /// Whether a statement of the extended protocol is run.
    pub(super) binds: bool,
    /// The texts of the statements that it runs.
    texts: Vec<Bytes>,
}

impl Request {
    /// Returns whether it runs one of these statements.
    pub(super) fn runs(&self, statements: Statements) -> bool {
        match statements {
            Statements::Commits => self.frames.iter().any(|frame| is_commit(frame)),
            Statements::Containing(part) => {
                let part = part.as_bytes();
                let contains = |text: &Bytes| part.is_empty() || text.windows(part.len()).any(|window| window == part);
                self.texts.iter().any(contains)
            }
        }
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    prepared: HashMap<Bytes, Bytes>,
    open: Request,
}

impl Requests {
    /// Adds a message after the start-up. Returns the messages to forward: all pending ones if this one requires an
    /// answer or belongs to no request, none if more have to come.
    pub(super) fn add(&mut self, frame: Bytes) -> Option<Request> {
        let kind = frame.first().copied();
        // A message that cannot be parsed is forwarded like the others; the server rejects it.
        let _ = self.note(kind, &frame.slice(frame.len().min(5)..));
        self.open.frames.push(frame);
        let waits = matches!(kind, Some(b'P' | b'B' | b'D' | b'E' | b'C'));
        (!waits).then(|| std::mem::take(&mut self.open))
    }

    /// Returns `None` if the message cannot be parsed.
    fn note(&mut self, kind: Option<u8>, fields: &Bytes) -> Option<()> {
        match kind {
            Some(b'P') => {
                let (name, rest) = text(fields)?;
                let (query, _) = text(&rest)?;
                self.prepared.insert(name, query);
            }
            Some(b'B') => {
                let (_portal, rest) = text(fields)?;
                let (name, _) = text(&rest)?;
                self.open.binds = true;
                self.open.texts.push(self.prepared.get(&name)?.clone());
            }
            Some(b'C') if fields.first() == Some(&b'S') => {
                let (name, _) = text(&fields.slice(1..))?;
                self.prepared.remove(&name);
            }
            Some(b'Q') => {
                self.open.answered = true;
                self.open.texts.push(text(fields)?.0);
            }
            // Sync and FunctionCall.
            Some(b'S' | b'F') => self.open.answered = true,
            _ => {}
        }
        Some(())
    }
}

/// Splits off a text that ends with a zero byte.
fn text(fields: &Bytes) -> Option<(Bytes, Bytes)> {
    let end = fields.iter().position(|byte| *byte == 0)?;
    Some((fields.slice(..end), fields.slice(end + 1..)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(kind: u8, fields: &str) -> Bytes {
        let length = u32::try_from(fields.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), fields.as_bytes()].concat().into()
    }

    fn whole(requests: &mut Requests, frames: &[Bytes]) -> Request {
        let mut done = frames.iter().filter_map(|frame| requests.add(frame.clone()));
        let request = done.next().unwrap();
        assert!(done.next().is_none());
        request
    }

    const RECEIPTS: Statements = Statements::Containing("receipts");

    #[test]
    fn bind_runs_its_named_statement() {
        let mut requests = Requests::default();
        let sync = message(b'S', "");
        let parse = message(b'P', "s1\0INSERT INTO receipts\0");
        let prepared = whole(&mut requests, &[parse, message(b'D', "Ss1\0"), sync.clone()]);
        assert!(prepared.answered && !prepared.runs(RECEIPTS), "preparing runs nothing");
        let other = message(b'P', "s2\0SELECT 1\0");
        whole(&mut requests, &[other, sync.clone()]);
        let run = |name: &str| [message(b'B', &format!("\0{name}\0")), message(b'E', "\0"), sync.clone()];
        let request = whole(&mut requests, &run("s1"));
        assert!(request.runs(RECEIPTS) && request.binds);
        assert_eq!(request.frames.len(), 3);
        assert!(!whole(&mut requests, &run("s2")).runs(RECEIPTS));
        // The name is free again after Close, and belongs to another statement after Parse.
        whole(&mut requests, &[message(b'C', "Ss1\0"), sync.clone()]);
        assert!(!whole(&mut requests, &run("s1")).runs(RECEIPTS));
        whole(&mut requests, &[message(b'P', "s1\0SELECT 2\0"), sync.clone()]);
        assert!(!whole(&mut requests, &run("s1")).runs(RECEIPTS));
    }

    #[test]
    fn unnamed_statement_lasts_one_request() {
        let mut requests = Requests::default();
        let parse = message(b'P', "\0DELETE FROM receipts\0");
        let request = whole(
            &mut requests,
            &[parse, message(b'B', "\0\0"), message(b'E', "\0"), message(b'S', "")],
        );
        assert!(request.runs(RECEIPTS));
    }

    #[test]
    fn simple_query_is_its_own_request() {
        let mut requests = Requests::default();
        let request = whole(&mut requests, &[message(b'Q', "DELETE FROM receipts;COMMIT\0")]);
        assert!(request.runs(RECEIPTS) && request.runs(Statements::Commits) && !request.binds);
        assert!(!whole(&mut requests, &[message(b'X', "")]).answered);
    }
}
