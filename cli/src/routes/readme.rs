//! The route table of the README.

use anyhow::Result;

use super::part::{Part, marked};
use super::source::Sources;

const BEGIN: &str = "<!-- routes: begin -->\n";
const END: &str = "<!-- routes: end -->";

/// The README with a row for each route: function, route, what it does.
pub(super) fn table(text: &str, sources: &Sources) -> Result<Part> {
    let (head, inside, tail) = marked(text, BEGIN, END)?;
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.trim_end_matches(" |").to_owned()))
    };
    let rows = sources.routes.iter();
    let rows: Vec<_> = rows
        .map(|route| (route.name.clone(), format!("{} | {}", route.key(), route.summary)))
        .collect();
    let lines = rows.iter().map(|(name, rest)| format!("| `{name}` | {rest} |\n"));
    let table: String = ["| function | route | what it does |\n|---|---|---|\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect();
    Ok(Part {
        entry: "row",
        actual: inside.lines().filter_map(row).collect(),
        expected: rows.into_iter().collect(),
        text: format!("{head}{table}{tail}"),
    })
}
