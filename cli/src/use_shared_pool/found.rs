//! What is found in a file: edits, places, reasons.

use std::collections::BTreeSet;

use super::edit::Edit;
use super::names::Absolute;
use super::tree::File;

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
    /// Names that say which database is connected to, other than DATABASE_URL, and where.
    pub(super) databases: Vec<(String, usize)>,
}

/// Adds what is in the way of files that change together, and is seen in no single one of them.
pub(super) fn together(all: &mut [(&File, Found)]) {
    let databases: BTreeSet<String> = all
        .iter()
        .flat_map(|(_, found)| found.databases.iter().map(|(name, _)| name.clone()))
        .collect();
    let several = databases.len() > 1;
    let databases = databases.into_iter().collect::<Vec<_>>().join("`, `");
    for (file, found) in all {
        for (line, place) in &file.unread {
            let text = format!(
                "the module in {} was not read (ignored, a link, outside, or no Rust), and may have to do with a pool",
                place.display()
            );
            found.blockers.push(Remark { line: *line, text });
        }
        if file.included && !found.edits.is_empty() {
            let text = "this file is part of another by `include!`: make it a module".to_owned();
            found.blockers.push(Remark { line: 1, text });
        }
        for (_, line) in found.databases.iter().filter(|_| several) {
            let text = format!(
                "`{databases}` may name more than one database, and the shared pool knows one, that of DATABASE_URL"
            );
            found.blockers.push(Remark { line: *line, text });
        }
    }
}
