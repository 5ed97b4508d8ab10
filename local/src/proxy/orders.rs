//! Orders: faults for the next requests that run a certain statement.

use std::collections::VecDeque;
use std::time::Duration;

use super::frames::Refusal;
use super::requests::{Request, Statements};

/// A place on the path of a request and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of the request reaches the server: nothing is applied.
    BeforeServer,
    /// The request reaches the server without its Sync. The server runs the statement, then waits for the rest with its
    /// locks held, and applies nothing. Of a simple query nothing reaches the server.
    BeforeSync,
    /// The request reaches the server, and the reply is not awaited: the server applies it, and its reply is lost.
    AfterServer,
    /// The server has answered, and its answer is lost.
    BeforeAcknowledgement,
}

/// The fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is delivered. Followed by other effects, it selects to which of several requests they apply.
    Nothing,
    /// The connection is cut at this place: the client gets RST, the server FIN.
    Cut(Cut),
    /// The connection hangs from this place on, as in [`Proxy::hang`](super::Proxy::hang).
    Hang(Cut),
    /// The request is delayed by this time and then delivered, even if the client has closed the connection by then:
    /// the server notices that only after it has answered.
    LateRequest(Duration),
    /// The reply is delayed by this time. It is lost if the client closes the connection before.
    LateReply(Duration),
    /// The request is delivered twice in a row, and only the first reply is forwarded.
    Twice,
    /// The server answers, and the client gets this fatal error instead of its answer: as from a pooler that has lost
    /// its connection to the server.
    Fatal(Refusal),
}

/// The orders that are not carried out yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Orders(VecDeque<(Statements, Effect)>);

impl Orders {
    pub(super) fn add(&mut self, statements: Statements, effects: impl IntoIterator<Item = Effect>) {
        self.0.extend(effects.into_iter().map(|effect| (statements, effect)));
    }

    /// Withdraws the orders for these statements.
    pub(super) fn withdraw(&mut self, statements: Statements) {
        self.0.retain(|(ordered, _)| *ordered != statements);
    }

    /// Takes the oldest order that applies to the request.
    pub(super) fn take(&mut self, request: &Request) -> Option<Effect> {
        let place = self.0.iter().position(|(statements, _)| request.runs(*statements))?;
        self.0.remove(place).map(|(_, effect)| effect)
    }
}
