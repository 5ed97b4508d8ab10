//! `openapi.json`: this backend's requests and responses, in OpenAPI 3.1.
//!
//! | file | purpose |
//! |---|---|
//! | [`operation`] | describes an operation |
//! | [`components`] | the parts that all operations have in common |
//! | [`route`] | the documentation of a route file, which gives an operation its route and its texts |
//! | [`schemas`] | the schemas, from the types of bodies and answers |
//! | [`older`] | the same document in OpenAPI 3.0 |
//! | `health`, `users`, `team`, `invitations`, `key_areas`, `analyses`, `meetings`, `tasks`, `integrations` | the operations |
//!
//! Rules come from the types, and problems from [`Error`](shared::http::Error) itself. Compiled only with the feature
//! `openapi`, which no deployed function has. Invariants: repeats no rule that a type defines. Depends on: the
//! documentation of the route files, and `tests/openapi.py`, which compares the document with a running backend.

mod analyses;
mod components;
mod health;
mod integrations;
mod invitations;
mod key_areas;
mod meetings;
mod older;
mod operation;
mod route;
mod schemas;
mod tasks;
mod team;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use older::downgraded;
use operation::Operation;
pub use route::Route;
use schemas::Schemas;

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

/// Returns the document.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut operations = health::operations(&mut schemas);
    operations.extend(users::operations(&mut schemas));
    operations.extend(team::operations(&mut schemas));
    operations.extend(invitations::operations(&mut schemas));
    operations.extend(key_areas::operations(&mut schemas));
    operations.extend(analyses::operations(&mut schemas));
    operations.extend(integrations::operations(&mut schemas));
    operations.extend(meetings::operations(&mut schemas));
    operations.extend(tasks::operations(&mut schemas));
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
