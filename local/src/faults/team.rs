//! What one client knows of its own team: the state that the answers so far have led to.
//!
//! A client is the only one to change its team, one request after the other, so its knowledge is exact, except where an
//! outcome stayed unknown: what that touched is in doubt, and is neither changed nor compared any more.

use std::collections::{BTreeMap, BTreeSet};

/// A meeting as its client knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Meeting {
    pub(super) title: String,
    pub(super) bot: String,
    pub(super) version: u64,
    pub(super) changes: usize,
    pub(super) transcript: Option<String>,
    pub(super) tasks: BTreeMap<String, Task>,
}

/// A task as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) text: String,
    pub(super) status: String,
}

/// A team: its admin, who asks for everything, its members, and what they made.
#[derive(Clone, Debug, Default)]
pub(super) struct Team {
    pub(super) admin_sub: String,
    pub(super) admin: String,
    pub(super) meetings: BTreeMap<String, Meeting>,
    /// Addresses that were invited and have not registered.
    pub(super) invited: Vec<String>,
    /// Meetings that an unknown outcome touched.
    pub(super) in_doubt: BTreeSet<String>,
    /// Whether a meeting, or a task somewhere, may exist that is not known of.
    pub(super) more: bool,
}

impl Team {
    /// Whether the meeting's state is certain.
    pub(super) fn knows(&self, meeting: &str) -> bool {
        !self.in_doubt.contains(meeting)
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Acknowledged.
    Done,
    /// Refused, and not asked for again.
    Absent,
    /// The client was never told.
    Unknown,
}

/// What a write leaves in the tables, to be counted there.
#[derive(Clone, Debug)]
pub(super) enum Trace {
    /// A meeting whose agenda is the marker.
    Meeting,
    /// A change record of this meeting whose new title is the marker.
    Change(String),
    /// A task of this meeting whose reasoning is the marker.
    Task(String),
    /// An invitation of the address that the marker is.
    Invitation,
    /// A user whose subject the marker is.
    User,
}

/// One write that can be counted.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) marker: String,
    pub(super) trace: Trace,
    pub(super) fate: Fate,
}
