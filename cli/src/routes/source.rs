//! Reads the route files: their documentation, the route that their `main` serves, and whether they describe it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use functions::openapi;
use syn::visit::{self, Visit};
use syn::{Expr, ExprLit, ExprMethodCall, Item, Lit, Meta};

/// The order of the methods on one path.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A route, from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The file's name without its extension, which is the function's.
    pub(super) name: String,
    /// In upper case.
    pub(super) method: String,
    /// With variables in braces.
    pub(super) path: String,
    /// Whether few clients call it at once.
    pub(super) rare: bool,
    /// What it does, without a period.
    pub(super) summary: String,
}

impl Route {
    /// `GET /api/meetings/{id}`.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The contents of `functions/src/bin`.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// By path, then method.
    pub(super) routes: Vec<Route>,
    /// Binaries that serve no route.
    pub(super) others: Vec<String>,
}

impl Sources {
    /// Reads every file of the folder.
    ///
    /// # Errors
    /// Fails for a file that cannot be read or parsed, that has not the documentation of a route, whose `main` serves
    /// another route than its documentation names, or that has no `describe!`; and for two files with one route.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut sources = Self::default();
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let file = entry?.path();
            let Some(name) = file.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let shown = format!("{}/{name}.rs", super::FOLDER);
            match parse(name, &super::read(&file)?).context(shown)? {
                Some(route) => sources.routes.push(route),
                None => sources.others.push(name.to_owned()),
            }
        }
        sources.routes.sort_by_key(|route| {
            let method = METHODS.iter().position(|method| *method == route.method);
            (route.path.clone(), method.unwrap_or(METHODS.len()))
        });
        for pair in sources.routes.windows(2) {
            let [one, other] = pair else { continue };
            ensure!(
                one.key() != other.key(),
                "{} and {} both serve {}",
                one.name,
                other.name,
                one.key()
            );
        }
        Ok(sources)
    }

    /// The names of all binaries, sorted.
    pub(super) fn binaries(&self) -> Vec<&str> {
        let routes = self.routes.iter().map(|route| route.name.as_str());
        let mut names: Vec<_> = routes.chain(self.others.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names
    }
}

/// Parses a file of the folder: a route, or `None` if its documentation is that of none, `No route: …`.
fn parse(name: &str, source: &str) -> Result<Option<Route>> {
    let file = syn::parse_file(source)?;
    let lines: Vec<_> = file.attrs.iter().filter_map(documentation).collect();
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    if let [first, second] = lines[..]
        && first.starts_with("No route: ")
        && second.starts_with("Safe to repeat: ")
    {
        return Ok(None);
    }
    let Some(route) = openapi::Route::parse(lines) else {
        bail!("its documentation is not two lines, `//! `METHOD /path`: what it does.` and `//! Safe to repeat: why.`");
    };
    let route = Route {
        name: name.to_owned(),
        method: route.method.to_owned(),
        path: route.path.to_owned(),
        rare: route.rare,
        summary: route.summary.to_owned(),
    };
    let mut calls = Calls::default();
    calls.visit_file(&file);
    let (key, served) = (route.key(), calls.0.join(" and "));
    ensure!(
        served == key,
        "its documentation says {key:?}, and its main runs {served:?}"
    );
    let describes = |path: &syn::Path| path.segments.last().is_some_and(|last| last.ident == "describe");
    let described = |item: &Item| matches!(item, Item::Macro(call) if describes(&call.mac.path));
    ensure!(
        file.items.iter().any(described),
        "it has no functions::describe!(…): describe the route for clients after its handle"
    );
    Ok(Some(route))
}

fn documentation(attribute: &syn::Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text), ..
    }) = &pair.value
    else {
        return None;
    };
    pair.path.is_ident("doc").then(|| text.value())
}

/// The routes that a file runs: `….run("METHOD /path", …)`, `….run_health("METHOD /path")`.
#[derive(Default)]
struct Calls(Vec<String>);

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let runs = call.method == "run" || call.method == "run_health";
        if let Some(Expr::Lit(ExprLit {
            lit: Lit::Str(route), ..
        })) = call.args.first().filter(|_| runs)
        {
            self.0.push(route.value());
        }
        visit::visit_expr_method_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! `GET /a`: one.\n//! Safe to repeat: it reads.\n\
        fn main() -> ExitCode {\n    SERVICE.run(\n        \"GET /a\",\n        example_event!(),\n        handle,\n    )\n}\n\
        functions::describe!(|operation, _| operation);\n";

    #[test]
    fn a_route_is_what_its_file_says() {
        let route = Route {
            name: "a".to_owned(),
            method: "GET".to_owned(),
            path: "/a".to_owned(),
            rare: false,
            summary: "one".to_owned(),
        };
        assert_eq!(parse("a", GOOD).unwrap(), Some(route.clone()));
        let health = GOOD.replace("run(", "run_health(");
        assert_eq!(parse("a", &health).unwrap(), Some(route));
        let other = "//! No route: it migrates.\n//! Safe to repeat: it looks.\nfn main() {}\n";
        assert_eq!(parse("a", other).unwrap(), None);
    }

    #[test]
    fn a_file_that_contradicts_itself_is_an_error() {
        for (says, source) in [
            ("runs \"GET /b\"", GOOD.replace("\"GET /a\"", "\"GET /b\"")),
            ("runs \"\"", GOOD.replace("SERVICE.run", "serve")),
            ("not two lines", GOOD.replace("Safe to repeat", "Never")),
            ("not two lines", GOOD.replace("//! `GET", "// `GET")),
            (
                "no functions::describe!",
                GOOD.replace("functions::describe!", "functions::explain!"),
            ),
            ("cannot parse", GOOD.replace(")", "")),
        ] {
            let error = parse("a", &source).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
