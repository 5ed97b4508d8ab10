//! The two documentation lines of a route file, from which an operation and everything else about a route is made.

/// A route, as its file's documentation describes it:
///
/// ```text
/// //! `GET /api/users/me`: the caller's own user.
/// //! Safe to repeat: it only reads.
/// ```
///
/// A route that few clients call at once says so, and its function reserves less:
///
/// ```text
/// //! `POST /api/users/invite`, rarely: invites an address to the caller's team.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// In upper case.
    pub method: &'a str,
    /// With variables as whole segments in braces: `/api/meetings/{id}`.
    pub path: &'a str,
    /// Whether few clients call it at once.
    pub rare: bool,
    /// What the route does: the first line after the colon, up to its period.
    pub summary: &'a str,
    /// The second line: why the request may be sent again.
    pub repeat: &'a str,
}

impl<'a> Route<'a> {
    /// Parses the documentation's lines. `None` if they do not describe a route in exactly this form.
    pub fn parse(lines: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut lines = lines.into_iter();
        let (first, repeat) = (lines.next()?, lines.next()?);
        let (route, rest) = first.strip_prefix('`')?.split_once('`')?;
        let (method, path) = route.split_once(' ')?;
        let (called, summary) = rest.split_once(": ")?;
        let route = Self {
            method,
            path,
            rare: called == ", rarely",
            summary: summary.strip_suffix('.')?,
            repeat,
        };
        let complete = path.starts_with('/')
            && method.bytes().all(|letter| letter.is_ascii_uppercase())
            && repeat.starts_with("Safe to repeat: ")
            && repeat.ends_with('.');
        (complete && lines.next().is_none()).then_some(route)
    }

    /// Parses the documentation that a source file begins with.
    pub(super) fn of_source(source: &'a str) -> Option<Self> {
        Self::parse(source.lines().map_while(|line| line.strip_prefix("//! ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_from_two_lines() {
        let source = "//! `GET /a/{id}`, and a schedule: one; two.\n//! Safe to repeat: it reads.\n\nfn main() {}\n";
        let expected = Route {
            method: "GET",
            path: "/a/{id}",
            rare: false,
            summary: "one; two",
            repeat: "Safe to repeat: it reads.",
        };
        assert_eq!(Route::of_source(source), Some(expected));
        let rare = source.replace("and a schedule", "rarely");
        assert_eq!(Route::of_source(&rare), Some(Route { rare: true, ..expected }));
    }

    #[test]
    fn other_lines_are_no_route() {
        let repeat = "Safe to repeat: it reads.";
        for lines in [
            &["`GET /a`: one."][..],
            &["No route: one.", repeat],
            &["`GET /a`: one", repeat],
            &["`GET /a` one.", repeat],
            &["`get /a`: one.", repeat],
            &["`GET a`: one.", repeat],
            &["`GET /a`: one.", "It reads."],
            &["`GET /a`: one.", repeat, "More."],
        ] {
            assert_eq!(Route::parse(lines.iter().copied()), None, "{lines:?}");
        }
    }
}
