//! A file with a generated part: the part's actual and its expected entry for each route.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// The part of a file that is generated from the route files.
#[derive(Debug)]
pub(super) struct Part {
    /// The name of an entry in messages, such as `router entry`.
    pub(super) entry: &'static str,
    /// The file's entries, by function.
    pub(super) actual: BTreeMap<String, String>,
    /// The entries that follow from the route files.
    pub(super) expected: BTreeMap<String, String>,
    /// The whole file as it should be.
    pub(super) text: String,
}

impl Part {
    /// Describes every difference, if the file's text is not as it should be.
    pub(super) fn differences(&self, file: &str) -> Vec<String> {
        let Self {
            entry,
            actual,
            expected,
            ..
        } = self;
        let mut found = Vec::new();
        for (name, should) in expected {
            match actual.get(name) {
                None => found.push(format!("{file}: {name} has no {entry}")),
                Some(is) if is != should => {
                    found.push(format!(
                        "{file}: the {entry} of {name} says {is:?} instead of {should:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        let extra = actual.keys().filter(|name| !expected.contains_key(*name));
        found.extend(extra.map(|name| format!("{file}: the {entry} of {name} has no route file")));
        if found.is_empty() {
            found.push(format!("{file}: another order or format of the {entry}s"));
        }
        found
    }
}

/// Splits a text at its marker lines: through the first one, between them, from the second one on.
///
/// # Errors
/// A marker that is missing.
pub(super) fn marked<'a>(text: &'a str, begin: &str, end: &str) -> Result<(&'a str, &'a str, &'a str)> {
    let line = |marker: &str| format!("it has no line {:?}", marker.trim());
    let (before, _) = text.split_once(begin).with_context(|| line(begin))?;
    let (head, rest) = text.split_at(before.len() + begin.len());
    let (inside, _) = rest.split_once(end).with_context(|| line(end))?;
    let (inside, tail) = rest.split_at(inside.len());
    Ok((head, inside, tail))
}
