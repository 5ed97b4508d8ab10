//! The document in OpenAPI 3.0, for tools that know no 3.1.
//!
//! Invariants: rewrites only what 3.0 writes in another way; no rule is lost or added.

use serde_json::{Map, Value, json};

use super::schemas::used;

/// Returns the document of [`document`](super::document) in OpenAPI 3.0.
pub fn downgraded(mut document: Value) -> Value {
    document["openapi"] = "3.0.3".into();
    if let Some(license) = document["info"]["license"].as_object_mut() {
        license.remove("identifier");
        license.insert("url".to_owned(), "https://spdx.org/licenses/".into());
    }
    let original = document.clone();
    for part in ["paths", "components"] {
        rewrite(&mut document[part], &original);
    }
    // Some were only referred to where they are inlined now.
    if let Value::Object(schemas) = document["components"]["schemas"].take() {
        document["components"]["schemas"] = json!(used(schemas.into_iter().collect(), &document));
    }
    document
}

/// Rewrites every schema below a node. An example is a value, and looks like one by chance only.
fn rewrite(node: &mut Value, document: &Value) {
    match node {
        Value::Object(members) => {
            nullable_choice(members, document);
            for (_, inner) in members
                .iter_mut()
                .filter(|(name, _)| *name != "example" && *name != "value")
            {
                rewrite(inner, document);
            }
            nullable_type(members);
            reference(members);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, document)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `type: [string, "null"]` becomes `type: string` with `nullable`.
fn nullable_type(members: &mut Map<String, Value>) {
    if let Some([kind, null]) = members.get("type").and_then(Value::as_array).map(Vec::as_slice)
        && null == "null"
    {
        let kind = kind.clone();
        members.insert("type".to_owned(), kind);
        members.insert("nullable".to_owned(), true.into());
        if let Some(names) = members.get_mut("enum").and_then(Value::as_array_mut)
            && !names.contains(&Value::Null)
        {
            names.push(Value::Null);
        }
    }
}

/// A choice between null and a reference becomes the referenced schema with `nullable`, because a reference takes none.
fn nullable_choice(members: &mut Map<String, Value>, document: &Value) {
    let null = json!({"type": "null"});
    let choices = members.get("oneOf").and_then(Value::as_array);
    let other = match choices.map(Vec::as_slice) {
        Some([one, other]) if *one == null => Some(other),
        Some([one, other]) if *other == null => Some(one),
        Some(_) | None => None,
    };
    let target = other.and_then(|other| other["$ref"].as_str()?.strip_prefix('#'));
    let Some(Value::Object(target)) = target.and_then(|target| document.pointer(target)).cloned() else {
        return;
    };
    members.remove("oneOf");
    for (name, value) in target {
        members.entry(name).or_insert(value);
    }
    if let Some(kind) = members.get_mut("type") {
        *kind = json!([kind, "null"]);
    }
}

/// A reference with a description beside it, which 3.0 ignores, becomes the only part of `allOf`.
fn reference(members: &mut Map<String, Value>) {
    if members.len() > 1
        && let Some(target) = members.remove("$ref")
    {
        members.insert("allOf".to_owned(), json!([{"$ref": target}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether a node has something that only 3.1 knows.
    fn newer(node: &Value) -> bool {
        match node {
            Value::Object(members) => {
                let beside = members.contains_key("$ref") && members.len() > 1;
                let null = members
                    .get("type")
                    .is_some_and(|kind| kind.is_array() || kind == "null");
                beside || null || members.contains_key("const") || members.values().any(newer)
            }
            Value::Array(items) => items.iter().any(newer),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    #[test]
    fn nothing_of_the_newer_version_is_left() {
        let document = super::super::document();
        assert!(newer(&document));
        let older = downgraded(document);
        assert!(!newer(&older));
        let platform = &older["components"]["schemas"]["MeetingDraft"]["properties"]["platform"];
        assert_eq!(platform["type"], "string");
        assert_eq!(platform["nullable"], true);
        assert!(
            platform["enum"]
                .as_array()
                .is_some_and(|names| names.contains(&Value::Null))
        );
        assert_eq!(
            older["components"]["schemas"]["Task"]["properties"]["text"]["type"],
            "string"
        );
    }
}
