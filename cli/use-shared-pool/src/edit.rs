//! Replaces pieces of a text at byte positions and keeps everything else.
//!
//! Invariants: knows nothing of Rust; writes to a temporary file beside the old one and replaces it atomically.

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

/// One replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The replaced range, in bytes of the old text; empty for an insertion.
    pub(super) range: Range<usize>,
    /// The new text.
    pub(super) with: String,
}

/// Returns the text after `edits`. An edit that lies within another is left out: the outer one replaces it.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    let (mut result, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        if edit.range.start < at {
            continue;
        }
        result.push_str(&text[at..edit.range.start]);
        result.push_str(&edit.with);
        at = edit.range.end;
    }
    result.push_str(&text[at..]);
    result
}

/// Removes the text at `range`, and its lines if they contain nothing else.
pub(super) fn remove(text: &str, range: Range<usize>) -> Edit {
    let before = text[..range.start].rfind('\n').map_or(0, |newline| newline + 1);
    let after = text[range.end..]
        .find('\n')
        .map_or(text.len(), |newline| range.end + newline + 1);
    let blank = |piece: &str| piece.trim().is_empty();
    let mut whole = range.clone();
    if blank(&text[before..range.start]) && blank(&text[range.end..after]) {
        whole = before..after;
        // Of the empty lines around it, the ones before it stay.
        let previous = text[..before].trim_end_matches([' ', '\t', '\r']).ends_with("\n\n") || before == 0;
        let rest = &text[after..];
        let next = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        if previous && after < text.len() && blank(&rest[..next]) {
            whole.end += next;
        }
    }
    Edit {
        range: whole,
        with: String::new(),
    }
}

/// A file's new text, ready to replace the old one.
pub(super) struct Ready {
    new: NamedTempFile,
    place: PathBuf,
}

/// Writes a text beside the file that it will replace, with the file's permissions. A symbolic link stays: the file
/// that it points to changes.
///
/// # Errors
/// Fails if the folder cannot be written to.
pub(super) fn prepare(path: &Path, text: &str) -> Result<Ready> {
    let store = || -> Result<Ready> {
        let place = fs::canonicalize(path)?;
        let mut new = NamedTempFile::new_in(place.parent().unwrap_or(Path::new("/")))?;
        new.write_all(text.as_bytes())?;
        fs::set_permissions(new.path(), fs::metadata(&place)?.permissions())?;
        Ok(Ready { new, place })
    };
    store().with_context(|| format!("cannot write {}", path.display()))
}

impl Ready {
    /// Replaces the file in one atomic step.
    ///
    /// # Errors
    /// Fails if the file cannot be replaced; it is then unchanged.
    pub(super) fn put(self) -> Result<()> {
        let Self { new, place } = self;
        let put = new.persist(&place).map_err(|error| error.error);
        put.map(drop)
            .with_context(|| format!("cannot write {}", place.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_line_goes_unless_commented() {
        let text = "a\n    b;\nc\n";
        assert_eq!(apply(text, &[remove(text, 6..8)]), "a\nc\n");
        let text = "a\n    b; // why\nc\n";
        assert_eq!(apply(text, &[remove(text, 6..8)]), "a\n     // why\nc\n");
    }

    #[test]
    fn nested_edits_apply_the_outer() {
        let edit = |range, with: &str| Edit {
            range,
            with: with.to_owned(),
        };
        assert_eq!(apply("abcdef", &[edit(2..3, "X"), edit(1..5, "Y")]), "aYf");
    }
}
