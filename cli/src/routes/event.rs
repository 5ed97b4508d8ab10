//! The example events, `tests/events/NAME.json`: made if there is none, and compared with the route.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use local::gateway::{self, Routes};
use serde_json::{Value, json};

use super::source::Route;

const FOLDER: &str = "tests/events";

/// The event that new ones are copied from.
const PATTERN: &str = include_str!("../../../tests/events/users-me.json");

/// Rows of `cli/src/seed.sql`, by the segment of the path before their id.
const SEED: [(&str, &str); 7] = [
    ("users", "01900000-0000-7000-8000-000000000002"),
    ("meetings", "01900000-0000-7000-8000-000000000102"),
    ("tasks", "01900000-0000-7000-8000-000000000201"),
    ("key-areas", "01900000-0000-7000-8000-000000000501"),
    ("analysis-history", "01900000-0000-7000-8000-000000000002"),
    ("analysis", "01900000-0000-7000-8000-000000000002"),
    ("analyze", "01900000-0000-7000-8000-000000000002"),
];
/// The id of any other resource: of no row.
const ABSENT: &str = "01900000-0000-7000-8000-000000000000";

/// What was found.
pub(super) struct Events {
    /// The events to be written: name and text.
    pub(super) missing: Vec<(String, String)>,
    /// The faults of the existing events, each with its remedy.
    pub(super) wrong: Vec<String>,
}

/// Compares the events with the routes. An event without a `routeKey` is no request, and no route's.
///
/// # Errors
/// An event that cannot be read or is not JSON.
pub(super) fn compare(root: &Path, routes: &[Route]) -> Result<Events> {
    let mut found = Events {
        missing: Vec::new(),
        wrong: Vec::new(),
    };
    for route in routes {
        let name = format!("{FOLDER}/{}.json", route.name);
        if !root.join(&name).is_file() {
            found.missing.push((name, made(route)));
        }
    }
    let folder = fs::read_dir(root.join(FOLDER)).with_context(|| format!("cannot read {FOLDER}"))?;
    let mut files = folder.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
    {
        let text = super::read(file)?;
        let event: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if event["routeKey"].is_null() {
            continue;
        }
        match routes.iter().find(|route| route.name == stem) {
            None => found
                .wrong
                .push(format!("{FOLDER}/{stem}.json has no route file: delete it")),
            Some(route) if !fits(&event, route) => found.wrong.push(format!(
                "{FOLDER}/{stem}.json is not for {}: change it, or delete it for a new one",
                route.key()
            )),
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Whether everything that names the route in an event names this one.
fn fits(event: &Value, route: &Route) -> bool {
    let context = &event["requestContext"];
    let path = event["rawPath"].as_str().unwrap_or_default();
    let alone = Routes::new([gateway::Route {
        method: Some(route.method.clone()),
        path: route.path.clone(),
        function: route.name.clone(),
    }]);
    let parameters = event.get("pathParameters").cloned().unwrap_or_else(|| json!({}));
    [&event["routeKey"], &context["routeKey"]]
        .iter()
        .all(|key| **key == route.key())
        && context["http"]["method"] == *route.method
        && context["http"]["path"] == *path
        && alone
            .find(&route.method, path)
            .is_some_and(|matched| parameters == json!(matched.parameters))
}

/// An event for a route: by the admin of the seed, about rows of the seed, with an empty object as the body of a method
/// that has one.
fn made(route: &Route) -> String {
    let (mut parameters, mut segments) = (Vec::new(), Vec::<&str>::new());
    for segment in route.path.split('/') {
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            segments.push(segment);
            continue;
        };
        let row = SEED.iter().find(|(resource, _)| segments.last() == Some(resource));
        let id = row.map_or(ABSENT, |(_, id)| id);
        parameters.push(format!("    \"{name}\": \"{id}\""));
        segments.push(id);
    }
    let mut event = PATTERN
        .replace("GET /api/users/me", &route.key())
        .replace("\"/api/users/me\"", &format!("\"{}\"", segments.join("/")))
        .replace("\"method\": \"GET\"", &format!("\"method\": \"{}\"", route.method));
    let last = "  \"isBase64Encoded\"";
    if !parameters.is_empty() {
        let parameters = format!("  \"pathParameters\": {{\n{}\n  }},\n{last}", parameters.join(",\n"));
        event = event.replace(last, &parameters);
    }
    if ["POST", "PUT", "PATCH"].contains(&route.method.as_str()) {
        let host = "    \"host\"";
        let headers = format!("    \"content-length\": \"2\",\n    \"content-type\": \"application/json\",\n{host}");
        event = event.replace(host, &headers);
        event = event.replace(last, &format!("  \"body\": \"{{}}\",\n{last}"));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_event_fits_its_route() {
        for (method, path, raw) in [
            ("GET", "/api/users", "/api/users".to_owned()),
            (
                "PATCH",
                "/api/meetings/{id}/tasks/{taskId}",
                format!("/api/meetings/{}/tasks/{}", SEED[1].1, SEED[2].1),
            ),
            ("DELETE", "/api/notes/{id}", format!("/api/notes/{ABSENT}")),
        ] {
            let route = Route {
                name: "a".to_owned(),
                method: method.to_owned(),
                path: path.to_owned(),
                rare: false,
                summary: String::new(),
            };
            let event: Value = serde_json::from_str(&made(&route)).unwrap();
            assert!(fits(&event, &route), "{event}");
            assert_eq!(event["rawPath"], raw);
            assert_eq!(event["body"].is_string(), method == "PATCH");
            let other = Route {
                method: "PUT".to_owned(),
                ..route
            };
            assert!(!fits(&event, &other), "{event}");
        }
    }
}
