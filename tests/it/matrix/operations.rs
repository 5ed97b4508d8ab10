//! The operations of `openapi.json`, and the ids of their paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use crate::backend::workspace;

/// An operation of the description.
pub struct Operation {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with the names of its ids in braces.
    pub path: String,
    /// The described statuses.
    pub statuses: BTreeSet<String>,
}

/// Returns every operation by its id, which is its function's name.
pub fn described() -> BTreeMap<String, Operation> {
    let document = std::fs::read_to_string(workspace().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut found = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = ["GET", "POST", "PUT", "PATCH", "DELETE"]
                .into_iter()
                .find(|name| name.eq_ignore_ascii_case(method))
                .unwrap();
            let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect();
            let path = path.clone();
            let operation_id = operation["operationId"].as_str().unwrap().to_owned();
            found.insert(operation_id, Operation { method, path, statuses });
        }
    }
    found
}

impl Operation {
    /// Returns the collections of the path's ids, in order.
    pub fn collections(&self) -> Vec<&'static str> {
        let ids = self.path.match_indices('{');
        ids.map(|(at, _)| collection(&self.path[..at])).collect()
    }

    /// Returns the path with these ids.
    pub fn filled(&self, ids: &[Uuid]) -> String {
        let mut ids = ids.iter();
        let parts = self.path.split('/').map(|part| {
            if part.starts_with('{') {
                ids.next().unwrap().to_string()
            } else {
                part.to_owned()
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// Returns the collection of an id in a path, by the segments in front of the id.
fn collection(path: &str) -> &'static str {
    match path.trim_end_matches('/').rsplit('/').next().unwrap() {
        "meetings" => "meetings",
        "tasks" => "tasks",
        "key-areas" => "key-areas",
        "invitations" => "invitations",
        "users" | "team-members" | "team-member" | "analysis-history" | "analysis" | "analyze" => "users",
        // The second id of /analysis/{userId}/{analysisId}.
        "{userId}" => "analyses",
        other => panic!("{path}: {other:?} is no collection"),
    }
}
