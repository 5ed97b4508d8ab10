//! `openapi.json`: this backend's requests and responses, in OpenAPI 3.1.
//!
//! | file | purpose |
//! |---|---|
//! | [`routes`] | the route files as modules, each with the description of its route |
//! | [`operation`] | describes an operation |
//! | [`schemas`] | the schemas, from the types of bodies and answers |
//! | [`examples`], [`parts`], [`webhooks`] | the parts that several descriptions share |
//! | [`components`] | the parts that all operations have in common |
//! | [`route`] | the documentation of a route file, which gives an operation its route and its texts |
//! | [`older`] | the same document in OpenAPI 3.0 |
//!
//! A route is described in its file, `functions/src/bin/NAME.rs`, by [`describe!`](crate::describe). Rules come from the
//! types, and problems from [`Error`](shared::http::Error) itself. Compiled only with the feature `openapi`, which no
//! deployed function has. Invariants: repeats no rule that a type defines; does not depend on the order of the routes.
//! Depends on: the route files, and `tests/openapi.py`, which compares the document with a running backend.

mod components;
pub mod examples;
mod older;
mod operation;
pub mod parts;
mod route;
mod routes;
mod schemas;
#[cfg(test)]
mod tests;
pub mod webhooks;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use older::downgraded;
pub use operation::Operation;
pub use route::Route;
pub use schemas::Schemas;

/// The tags: the resources, with which the names of their functions begin.
const TAGS: [(&str, &str); 11] = [
    ("health", "Whether the service works"),
    ("users", "The user of a token's subject"),
    ("team", "The people of the caller's team"),
    ("invitations", "Joining a team: an admin invites, the person accepts"),
    (
        "key-areas",
        "Topics that a member works on, as agreed with the admin of their team",
    ),
    ("analyses", "Summaries of a member's meetings"),
    ("meetings", "Meetings, their changes and their recordings"),
    ("tasks", "The tasks that result from meetings"),
    ("ai-settings", "The caller's AI provider"),
    ("google", "The caller's Google calendar"),
    ("clerk", "The identity provider's events"),
];

/// A route file of `functions/src/bin`.
#[derive(Clone, Copy)]
struct RouteFile {
    /// The file's name without its extension, which is the function's.
    name: &'static str,
    source: &'static str,
    /// The function that its [`describe!`](crate::describe) makes.
    describe: fn(Operation, &mut Schemas) -> Operation,
}

/// Returns the document.
pub fn document() -> Value {
    describing(routes::ROUTES.iter())
}

/// Returns the document with the routes of these files.
fn describing<'a>(files: impl Iterator<Item = &'a RouteFile>) -> Value {
    let mut schemas = Schemas::default();
    let operations = files.map(|file| (file.describe)(Operation::new(file.name, file.source), &mut schemas));
    let operations = operations.collect();
    let mut components = components::components(&mut schemas);
    let mut paths = paths(operations);
    components["responses"] = shared_responses(&mut paths);
    components["schemas"] = schemas.finish(&json!([paths, components]));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Seer",
            "description": "The backend of Seer, a product for team meetings: managers hold 1:1s and team meetings, a \
                recording service posts transcripts back, tasks come out of meetings.\n\nA meeting is visible to the \
                admin of its team, and to its creator and its team member while they are on that team; what a caller \
                may not see is 404. A list is an array, with a Link header if there is a next page. Errors are problems \
                (RFC 9457) with a stable `type`. Every write may be sent again under an `Idempotency-Key`: it \
                is applied once, and a replay shows the resource as it is now.",
            "version": env!("CARGO_PKG_VERSION"),
            "contact": {"name": "Seer"},
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{
            "url": "https://{host}",
            "description": "A deployment",
            "variables": {"host": {"default": "api.example.com", "description": "The host of its HTTP API"}},
        }],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "security": [{"token": []}],
        "paths": paths,
        "components": components,
    })
}

fn paths(operations: Vec<Operation>) -> BTreeMap<&'static str, Map<String, Value>> {
    let mut paths = BTreeMap::<_, Map<String, Value>>::new();
    for operation in operations {
        let (method, path) = operation.place();
        paths.entry(path).or_default().insert(method, operation.finish());
    }
    paths
}

/// Moves responses that several operations share to the components, and returns those.
fn shared_responses(paths: &mut BTreeMap<&'static str, Map<String, Value>>) -> Value {
    let responses = |paths: &mut BTreeMap<_, Map<String, Value>>, act: &mut dyn FnMut(&str, &mut Value)| {
        let operations = paths.values_mut().flat_map(|path| path.values_mut());
        for (status, response) in operations.filter_map(|one| one["responses"].as_object_mut()).flatten() {
            act(status, response);
        }
    };
    let mut uses = BTreeMap::<String, usize>::new();
    responses(paths, &mut |_, response| {
        *uses.entry(response.to_string()).or_default() += 1
    });
    let mut named = BTreeMap::<String, String>::new();
    let mut components = Map::new();
    responses(paths, &mut |status, response| {
        let text = response.to_string();
        if uses.get(&text).is_none_or(|count| *count < 3) {
            return;
        }
        let name = named.entry(text).or_insert_with(|| {
            let title = response["description"].as_str().unwrap_or(status);
            let words = title.split(|letter: char| !letter.is_alphanumeric());
            let name: String = words.map(capitalised).collect();
            let alike = components.keys().filter(|other| other.starts_with(&name)).count();
            let name = if alike == 0 {
                name
            } else {
                format!("{name}{}", alike + 1)
            };
            components.insert(name.clone(), response.clone());
            name
        });
        *response = json!({"$ref": format!("#/components/responses/{name}")});
    });
    components.into()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect()
}
