//! The route table: which function serves a method and path.
//!
//! Invariants: does no I/O except reading the manifest. Depends on: the format that cargo-lambda reads from
//! `[workspace.metadata.lambda.watch.router]`, so that `cargo lambda watch` and this gateway serve the same routes, and
//! API Gateway's rule that the more specific route takes precedence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method in upper case; `None` serves every method.
    pub method: Option<String>,
    /// The path, with variables as whole segments in braces: `/api/meetings/{id}`.
    pub path: String,
    /// The name of the function that serves it.
    pub function: String,
}

impl Route {
    /// Returns the route key as in events: `GET /api/meetings/{id}`, or `ANY /…`.
    pub fn key(&self) -> String {
        format!("{} {}", self.method.as_deref().unwrap_or("ANY"), self.path)
    }

    /// Returns the path's variables, if it matches. Segments are compared as sent; values are decoded.
    fn parameters(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let mut parameters = BTreeMap::new();
        let mut segments = path.split('/');
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            match variable(expected) {
                Some(name) if !segment.is_empty() => {
                    let value = percent_decode_str(segment).decode_utf8_lossy().into_owned();
                    parameters.insert(name.to_owned(), value);
                }
                Some(_) => return None,
                None if expected == segment => {}
                None => return None,
            }
        }
        segments.next().is_none().then_some(parameters)
    }

    /// Returns a sort key that puts the most specific route first: a static segment before a variable, from the left,
    /// and a named method before any.
    fn specificity(&self) -> (Vec<bool>, bool) {
        (
            self.path
                .split('/')
                .map(|segment| variable(segment).is_some())
                .collect(),
            self.method.is_none(),
        )
    }
}

fn variable(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The route that matches a request, and the values of its path variables.
#[derive(Clone, Debug)]
pub struct Matched<'a> {
    /// The route.
    pub route: &'a Route,
    /// The path variables, percent-decoded.
    pub parameters: BTreeMap<String, String>,
}

/// The route table.
#[derive(Clone, Debug)]
pub struct Routes(Vec<Route>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Any(String),
    Methods(Vec<MethodEntry>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodEntry {
    method: String,
    function: String,
}

impl Routes {
    /// Creates a table of these routes.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self(routes.into_iter().collect())
    }

    /// Reads the router entries of a workspace manifest.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not TOML, or if an entry is neither a function's name nor a list of `{
    /// method, function }`; the message names the file and the entry.
    pub fn from_manifest(manifest: &Path) -> anyhow::Result<Self> {
        let shown = manifest.display();
        let text = std::fs::read_to_string(manifest).with_context(|| format!("cannot read {shown}"))?;
        let document: toml::Table = text.parse().with_context(|| format!("{shown} is not valid TOML"))?;
        let mut table = &document;
        for key in ["workspace", "metadata", "lambda", "watch", "router"] {
            let inner = table.get(key).and_then(toml::Value::as_table);
            table = inner.with_context(|| format!("{shown} has no [workspace.metadata.lambda.watch.router]"))?;
        }
        let mut routes = Vec::new();
        for (path, entry) in table {
            let entry: Entry = entry.clone().try_into().map_err(|_| {
                anyhow::anyhow!(
                    "{shown}: router entry {path:?} is neither a function nor a list of {{ method, function }}"
                )
            })?;
            match entry {
                Entry::Any(function) => routes.push(Route {
                    method: None,
                    path: path.clone(),
                    function,
                }),
                Entry::Methods(methods) => {
                    routes.extend(methods.into_iter().map(|MethodEntry { method, function }| Route {
                        method: Some(method.to_ascii_uppercase()),
                        path: path.clone(),
                        function,
                    }))
                }
            }
        }
        Ok(Self(routes))
    }

    /// Returns the routes, in the manifest's order of paths.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Returns the names of the functions that serve a route, each once.
    pub fn functions(&self) -> BTreeSet<&str> {
        self.iter().map(|route| route.function.as_str()).collect()
    }

    /// Returns the route for a request; `path` as it was sent, without the query.
    pub fn find(&self, method: &str, path: &str) -> Option<Matched<'_>> {
        self.iter()
            .filter(|route| route.method.as_deref().is_none_or(|expected| expected == method))
            .filter_map(|route| {
                Some(Matched {
                    route,
                    parameters: route.parameters(path)?,
                })
            })
            .min_by_key(|matched| matched.route.specificity())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [workspace.metadata.lambda.watch.router]
        "/api/meetings" = [{ method = "get", function = "meetings-list" }, { method = "POST", function = "meetings-create" }]
        "/api/meetings/{id}" = [{ method = "GET", function = "meetings-get" }]
        "/api/meetings/webhook" = [{ method = "POST", function = "meetings-webhook" }]
        "/api/meetings/{id}/tasks" = [{ method = "GET", function = "tasks-list" }]
        "/api/meetings/{id}/tasks/{taskId}" = [{ method = "DELETE", function = "tasks-delete" }]
        "/api/meetings/tasks/all" = [{ method = "GET", function = "tasks-all" }]
        "/api/meetings/tasks/{taskId}" = "any-task"
    "#;

    fn read(text: &str) -> anyhow::Result<Routes> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Routes::from_manifest(file.path())
    }

    #[test]
    fn more_specific_route_wins() {
        let routes = read(MANIFEST).unwrap();
        let found = |method: &str, path: &str| {
            routes
                .find(method, path)
                .map(|matched| (matched.route.function.clone(), matched.parameters))
        };
        let function = |method: &str, path: &str| found(method, path).map(|(function, _)| function);
        assert_eq!(function("GET", "/api/meetings").as_deref(), Some("meetings-list"));
        assert_eq!(function("POST", "/api/meetings").as_deref(), Some("meetings-create"));
        assert_eq!(
            function("GET", "/api/meetings/webhook").as_deref(),
            Some("meetings-get")
        );
        assert_eq!(
            function("POST", "/api/meetings/webhook").as_deref(),
            Some("meetings-webhook")
        );
        assert_eq!(function("GET", "/api/meetings/tasks/all").as_deref(), Some("tasks-all"));
        assert_eq!(
            function("GET", "/api/meetings/tasks/tasks").as_deref(),
            Some("any-task")
        );
        assert_eq!(function("GET", "/api/meetings/7/tasks").as_deref(), Some("tasks-list"));
        let (function_name, parameters) = found("DELETE", "/api/meetings/a%20b/tasks/%2F").unwrap();
        assert_eq!(function_name, "tasks-delete");
        assert_eq!(parameters["id"], "a b");
        assert_eq!(parameters["taskId"], "/");
        for (method, path) in [
            ("DELETE", "/api/meetings"),
            ("GET", "/api/meetings/"),
            ("GET", "/api/meetings//tasks"),
            ("GET", "/api/meetings/7/tasks/"),
            ("GET", "/API/meetings"),
            ("GET", "/"),
        ] {
            assert_eq!(function(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn bad_manifest_is_named() {
        let error = read("[workspace.metadata.lambda.watch.router]\n\"/x\" = [{ verb = \"GET\" }]").unwrap_err();
        assert!(error.to_string().contains("router entry \"/x\""), "{error}");
        let error = read("[package]").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has no [workspace.metadata.lambda.watch.router]"),
            "{error}"
        );
    }

    #[test]
    fn functions_are_listed_once() {
        let routes = read("[workspace.metadata.lambda.watch.router]\n\"/a\" = \"one\"\n\"/b\" = \"one\"").unwrap();
        assert_eq!(routes.functions().into_iter().collect::<Vec<_>>(), ["one"]);
        assert_eq!(routes.iter().map(Route::key).collect::<Vec<_>>(), ["ANY /a", "ANY /b"]);
    }
}
