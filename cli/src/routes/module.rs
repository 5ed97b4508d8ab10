//! The part of `functions/src/openapi/routes.rs` that makes the route files modules of the library, for their
//! descriptions.

use anyhow::Result;

use super::part::{Part, marked};
use super::source::Sources;

const BEGIN: &str = "// routes: begin\n";
const END: &str = "// routes: end";

/// Returns `functions/src/openapi/routes.rs` with a module for each route, and the list of the modules.
///
/// # Errors
/// Fails if the file has no markers.
pub(super) fn modules(text: &str, sources: &Sources) -> Result<Part> {
    let (head, inside, tail) = marked(text, BEGIN, END)?;
    let file = |line: &str| {
        Some(
            line.strip_prefix("#[path = \"../bin/")?
                .strip_suffix(".rs\"]")?
                .to_owned(),
        )
    };
    let mut names: Vec<_> = sources.routes.iter().map(|route| route.name.as_str()).collect();
    names.sort_unstable();
    let (mut modules, mut list) = (String::new(), String::new());
    for name in &names {
        let module = name.replace('-', "_");
        modules += &format!("#[path = \"../bin/{name}.rs\"]\nmod {module};\n");
        list += &format!("    route_file!(\"{name}\", {module}),\n");
    }
    Ok(Part {
        entry: "module",
        actual: inside
            .lines()
            .filter_map(file)
            .map(|name| (name, String::new()))
            .collect(),
        expected: names.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
        text: format!("{head}{modules}\npub(super) const ROUTES: &[RouteFile] = &[\n{list}];\n{tail}"),
    })
}
