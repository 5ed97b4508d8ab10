//! The result of a check, in one line.

use std::fmt;

/// The result of a check.
pub(super) struct Line {
    check: &'static str,
    pub(super) outcome: Outcome,
}

/// The findings of a check.
pub(super) enum Outcome {
    /// Nothing has to be changed. The text describes the observation.
    Fine(String),
    /// The deploy would fail, or not work.
    Change {
        /// The problem.
        found: String,
        /// Its remedy.
        todo: String,
    },
    /// It could not be checked, for this reason.
    Unknown(String),
}

impl Line {
    pub(super) fn fine(check: &'static str, seen: String) -> Self {
        Self {
            check,
            outcome: Outcome::Fine(seen),
        }
    }

    pub(super) fn change(check: &'static str, found: String, todo: String) -> Self {
        Self {
            check,
            outcome: Outcome::Change { found, todo },
        }
    }

    pub(super) fn unknown(check: &'static str, why: String) -> Self {
        Self {
            check,
            outcome: Outcome::Unknown(why),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = self.check;
        match &self.outcome {
            Outcome::Fine(seen) => write!(f, "ok           {check:<16} {seen}"),
            Outcome::Change { found, todo } => write!(f, "to change    {check:<16} {found}: {todo}"),
            Outcome::Unknown(why) => write!(f, "not checked  {check:<16} {why}"),
        }
    }
}
