//! What is found in a file: edits, places, reasons.

use std::collections::BTreeSet;

use super::edit::Edit;
use super::names::Absolute;

/// What `shared` has for sqlx's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Target {
    /// For a pool.
    SharedPool,
    /// For a transaction.
    Transaction,
    /// For a connection that is owned.
    Held,
    /// For a connection that is borrowed.
    Session,
}

impl Target {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedPool => "SharedPool",
            Self::Transaction => "Transaction",
            Self::Held => "Held",
            Self::Session => "Session",
        }
    }

    /// Where it is.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::SharedPool => "shared::SharedPool",
            Self::Transaction => "shared::db::Transaction",
            Self::Held => "shared::db::Held",
            Self::Session => "shared::db::Session",
        }
    }
}

/// A line about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remark {
    /// 1-based.
    pub(super) line: usize,
    /// What there is to say.
    pub(super) text: String,
}

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What to change; import lines apart.
    pub(super) edits: Vec<Edit>,
    /// Names that modules need to import.
    pub(super) needs: BTreeSet<(Absolute, Target)>,
    /// Where connections are opened that can be moved.
    pub(super) sites: Vec<Remark>,
    /// What keeps the unit from being moved.
    pub(super) blockers: Vec<Remark>,
    /// What is left as it is, and keeps nothing else from being moved.
    pub(super) left: Vec<Remark>,
    /// What the move changes that the code does not show.
    pub(super) notes: Vec<Remark>,
}
