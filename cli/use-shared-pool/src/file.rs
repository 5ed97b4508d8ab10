//! A source file that parsed.

use std::path::{Path, PathBuf};

/// A file that parsed.
pub(super) struct File {
    /// The path as the user would write it.
    pub(super) path: PathBuf,
    /// The index of its package in `Tree::packages`.
    pub(super) package: usize,
    /// The whole text.
    pub(super) text: String,
    /// The length of the prefix that was not parsed: a byte order mark, a `#!` line.
    pub(super) offset: usize,
    /// The syntax tree.
    pub(super) ast: syn::File,
    /// The module's target and its path within the target.
    pub(super) target: usize,
    /// See `target`.
    pub(super) module: Vec<String>,
    /// Files with the same number change together.
    pub(super) unit: usize,
    /// Whether it is below one of the given paths.
    pub(super) asked: bool,
    /// Whether another file includes it with `include!`.
    pub(super) included: bool,
    /// Declared modules that were not read: the line, and their path.
    pub(super) unread: Vec<(usize, PathBuf)>,
}

/// Returns the absolute path, without following links.
pub(super) fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
