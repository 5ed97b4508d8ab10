//! One client's knowledge of its team: the state that follows from the answers so far.
//!
//! Only this client changes its team, one request after the other, so its knowledge is exact, except after an unknown
//! outcome: the affected resources are uncertain, and are neither changed nor compared any more.

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

/// A team: its admin, who sends all requests, its members, and their resources.
#[derive(Clone, Debug, Default)]
pub(super) struct Team {
    pub(super) admin_sub: String,
    pub(super) admin: String,
    pub(super) meetings: BTreeMap<String, Meeting>,
    /// Invitations that have not been accepted.
    pub(super) invited: Vec<Invited>,
    /// The members: their subjects and ids.
    pub(super) members: Vec<(String, String)>,
    /// How many places of the team an unknown outcome may have taken.
    pub(super) doubtful_places: usize,
    /// The addresses whose invitation was cancelled, with whether that is certain.
    pub(super) cancelled: BTreeMap<String, bool>,
    /// The subjects of removed people, and of people whose removal is uncertain.
    pub(super) removed: BTreeSet<String>,
    /// Meetings affected by an unknown outcome.
    pub(super) in_doubt: BTreeSet<String>,
    /// Whether an unknown meeting, or an unknown task somewhere, may exist.
    pub(super) more: bool,
}

/// An invitation that its client knows.
#[derive(Clone, Debug)]
pub(super) struct Invited {
    pub(super) email: String,
    pub(super) id: String,
    /// Missing if the answer that had it was lost.
    pub(super) token: Option<String>,
}

impl Team {
    /// Returns whether a person can be invited: three places beside the admin's.
    pub(super) fn has_place(&self) -> bool {
        self.invited.len() + self.members.len() + self.doubtful_places < 3
    }

    /// Returns whether the meeting's state is certain.
    pub(super) fn knows(&self, meeting: &str) -> bool {
        !self.in_doubt.contains(meeting)
    }
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// Acknowledged.
    Done,
    /// Refused, and not retried.
    Absent,
    /// The outcome is unknown to the client.
    Unknown,
}

/// The countable effect of a write in the tables.
#[derive(Clone, Debug)]
pub(super) enum WriteEffect {
    /// A meeting whose agenda is the marker.
    Meeting,
    /// A change record of this meeting whose new title is the marker.
    Change(String),
    /// A task of this meeting whose reasoning is the marker.
    Task(String),
    /// An invitation of the address that is the marker.
    Invitation,
    /// A user whose subject is the marker.
    User,
}

/// One write that can be counted.
#[derive(Clone, Debug)]
pub(super) struct RecordedWrite {
    pub(super) marker: String,
    pub(super) effect: WriteEffect,
    pub(super) outcome: WriteOutcome,
}
