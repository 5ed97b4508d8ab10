//! The results for a file: edits, positions, reasons.

use std::collections::BTreeSet;

use super::edit::Edit;
use super::file::File;
use super::names::Absolute;

/// The types of `shared` that replace sqlx's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Replacement {
    /// Replaces a pool.
    SharedPool,
    /// Replaces a transaction.
    Transaction,
    /// Replaces an owned connection.
    OwnedConnection,
    /// Replaces a borrowed connection.
    Session,
}

impl Replacement {
    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedPool => "SharedPool",
            Self::Transaction => "Transaction",
            Self::OwnedConnection => "OwnedConnection",
            Self::Session => "Session",
        }
    }

    /// Returns its path.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::SharedPool => "shared::SharedPool",
            Self::Transaction => "shared::db::Transaction",
            Self::OwnedConnection => "shared::db::OwnedConnection",
            Self::Session => "shared::db::Session",
        }
    }
}

/// A message about a position in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remark {
    /// The line, 1-based.
    pub(super) line: usize,
    /// The message.
    pub(super) text: String,
}

/// The results for one file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The edits, except those of imports.
    pub(super) edits: Vec<Edit>,
    /// Names that modules need to import.
    pub(super) needs: BTreeSet<(Absolute, Replacement)>,
    /// Positions where connections are opened that can be moved.
    pub(super) sites: Vec<Remark>,
    /// Reasons why the unit cannot be moved.
    pub(super) blockers: Vec<Remark>,
    /// Code that stays as it is and does not prevent other moves.
    pub(super) left: Vec<Remark>,
    /// Effects of the move that are not visible in the code.
    pub(super) notes: Vec<Remark>,
    /// Names that choose a database other than DATABASE_URL's, and their lines.
    pub(super) databases: Vec<(String, usize)>,
}

/// Adds the blockers of files that change together, which are visible in no single one of them.
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
