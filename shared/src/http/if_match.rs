//! The `If-Match` header: the condition under which a request may change a resource (RFC 9110 §13.1.1).
//!
//! Invariants: only parses. The route's statement compares the versions with the row, so that nothing changes between
//! the check and the change. Depends on: nothing.

/// The condition of an `If-Match` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or `*`: any version.
    Absent,
    /// One of these versions. None, if the header has weak entity tags only: then the condition is never met.
    Versions(Vec<String>),
}

impl IfMatch {
    /// Parses `*` or a list of entity tags, whose quoted text may contain commas. Returns `None` if it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let blank = [' ', '\t', ','];
        let mut rest = text.trim_matches(blank);
        if rest == "*" {
            return Some(Self::Absent);
        }
        let (mut tags, mut versions) = (0, Vec::new());
        while !rest.is_empty() {
            let strong = rest.strip_prefix("W/").unwrap_or(rest);
            let (version, after) = strong.strip_prefix('"')?.split_once('"')?;
            // A strong comparison: a weak tag matches nothing.
            if strong == rest {
                versions.push(version.to_owned());
            }
            let next = after.trim_start_matches(blank);
            let separated = after[..after.len() - next.len()].contains(',');
            if !next.is_empty() && !separated {
                return None;
            }
            (rest, tags) = (next, tags + 1);
        }
        (tags > 0).then_some(Self::Versions(versions))
    }

    /// Returns the versions that may be changed; `None` if any may.
    pub fn versions(&self) -> Option<&[String]> {
        match self {
            Self::Absent => None,
            Self::Versions(versions) => Some(versions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_a_list_of_entity_tags() {
        for (text, expected) in [
            ("*", None),
            (" * ", None),
            ("\"4\"", Some(&["4"][..])),
            ("\"1\", \"4\"", Some(&["1", "4"])),
            (",\"1\",,\t\"4\",", Some(&["1", "4"])),
            ("\"4,5\"", Some(&["4,5"])),
            ("\"\"", Some(&[""])),
            ("W/\"4\"", Some(&[])),
            ("W/\"1\", \"4\"", Some(&["4"])),
        ] {
            let condition = IfMatch::parse(text).unwrap();
            let expected =
                expected.map(|versions| versions.iter().map(|&version| version.to_owned()).collect::<Vec<_>>());
            assert_eq!(condition.versions(), expected.as_deref(), "{text}");
        }
        for text in [
            "",
            ",",
            "4",
            "\"4",
            "4\"",
            "\"a\"b\"",
            "\"1\" \"4\"",
            "\"4\", *",
            "*, \"4\"",
            "w/\"4\"",
            "W/4",
        ] {
            assert_eq!(IfMatch::parse(text), None, "{text}");
        }
    }
}
