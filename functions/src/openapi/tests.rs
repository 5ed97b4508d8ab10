//! Compares the document with the types and the code. `tests/openapi.py` compares it with a running backend.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{describing, document, routes};
use crate::{ai_settings, google, invitations, key_areas, meetings, tasks};

/// The sources of all messages for clients.
const SOURCES: &[&str] = &[
    include_str!("../../../shared/src/http/caller.rs"),
    include_str!("../../../shared/src/http/problem.rs"),
    include_str!("../analyses.rs"),
    include_str!("../clerk.rs"),
    include_str!("../invitations/accept.rs"),
    include_str!("../invitations/create.rs"),
    include_str!("../invitations/mod.rs"),
    include_str!("../key_areas.rs"),
    include_str!("../lib.rs"),
    include_str!("../meetings/changes.rs"),
    include_str!("../meetings/mod.rs"),
    include_str!("../meetings/webhook/mod.rs"),
    include_str!("../meetings/webhook/report.rs"),
    include_str!("../tasks/all.rs"),
    include_str!("../tasks/mod.rs"),
    include_str!("../tasks/suggest.rs"),
    include_str!("../team.rs"),
];

/// Returns a schema of the document, following a reference.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let other = choices.into_iter().find(|choice| choice["type"] != "null");
    let schema = other.unwrap_or(schema);
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

fn nullable(schema: &Value) -> bool {
    let null = json!({"type": "null"});
    let types = schema["type"].as_array().into_iter().flatten();
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    types.into_iter().any(|kind| kind == "null") || choices.into_iter().any(|choice| *choice == null)
}

/// Returns values at the bounds of a schema that it accepts, and values beyond them.
fn values(schema: &Value) -> (Vec<Value>, Vec<Value>) {
    let number = |name: &str| schema[name].as_u64();
    let (mut good, mut bad) = (Vec::new(), vec![json!({}), json!(true)]);
    if schema["type"] == "boolean" {
        good.extend([json!(true), json!(false)]);
        bad = vec![json!({}), json!("true"), json!(1)];
    } else if let Some(names) = schema["enum"].as_array() {
        good.extend(names.iter().cloned());
        bad.extend([json!("nonsense"), json!(""), json!({names[0].as_str().unwrap(): null})]);
    } else if let (Some(least), Some(most)) = (number("minimum"), number("maximum")) {
        good.extend([json!(least), json!(most), json!(most as f64)]);
        bad.extend([json!(least - 1), json!(most + 1), json!(least as f64 + 0.5), json!("1")]);
    } else if let Some(most) = number("maxItems") {
        let most = usize::try_from(most).unwrap();
        good.extend([json!([]), json!(vec!["x"; most])]);
        bad.extend([json!(vec!["x"; most + 1]), json!([""]), json!([7]), json!("x")]);
    } else if schema["format"] == "uuid" {
        good.push(json!("01900000-0000-7000-8000-000000000002"));
        bad.extend([json!("01900000000070008000000000000002"), json!(7)]);
    } else if schema["format"] == "date-time" {
        good.extend([json!("1970-01-01T00:00:00Z"), json!("9999-12-31T23:59:59Z")]);
        bad.extend([json!("1969-12-31T23:59:59Z"), json!("2026-03-02"), json!(7)]);
    } else if schema["format"] == "uri" {
        good.extend([json!("https://example.com/?a=b"), json!("HTTP://example.com")]);
        bad.extend([json!("ftp://example.com"), json!("example.com"), json!("")]);
        bad.extend([json!("https://me@example.com"), json!("https://example.com/\u{202e}")]);
    } else if let (Some(1), Some(most)) = (number("minLength"), number("maxLength")) {
        let most = usize::try_from(most).unwrap();
        good.extend([json!("x"), json!("\u{1f389}".repeat(most))]);
        bad.extend([
            json!("x".repeat(most + 1)),
            json!(""),
            json!("  "),
            json!("a\0"),
            json!(7),
        ]);
    }
    (good, bad)
}

/// Compares the body of `operation` with the type `T` that deserializes it.
fn agrees<T: DeserializeOwned>(document: &Value, operation: &str) {
    let content = document
        .pointer(&format!("{operation}/requestBody/content/application~1json"))
        .unwrap();
    let schema = resolved(document, &content["schema"]);
    let reads = |body: Value| serde_json::from_value::<T>(body).is_ok();
    let with = |name: &str, value: &Value| {
        let mut body = content["example"].clone();
        body[name] = value.clone();
        body
    };
    assert!(reads(content["example"].clone()), "{operation}: the example");
    assert_eq!(schema["additionalProperties"], false);
    assert!(
        !reads(with("nonsense", &json!(1))),
        "{operation}: a field that is not described"
    );
    assert!(!reads(json!({})), "{operation}: nothing");
    for (name, field) in schema["properties"].as_object().unwrap() {
        assert_eq!(
            reads(with(name, &Value::Null)),
            nullable(field),
            "{operation}: null as {name}"
        );
        let required = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one == name);
        let mut without = content["example"].clone();
        without.as_object_mut().unwrap().remove(name);
        if without != json!({}) {
            assert_eq!(!reads(without), required, "{operation}: without {name}");
        }
        let (good, bad) = values(resolved(document, field));
        for value in good {
            assert!(reads(with(name, &value)), "{operation}: {name} should take {value:.80}");
        }
        for value in bad {
            assert!(
                !reads(with(name, &value)),
                "{operation}: {name} should not take {value:.80}"
            );
        }
    }
}

#[test]
fn body_schemas_match_the_types() {
    let document = document();
    agrees::<invitations::Body>(&document, "/paths/~1api~1users~1invite/post");
    agrees::<invitations::Acceptance>(&document, "/paths/~1api~1users~1invite~1accept/post");
    agrees::<key_areas::Draft>(&document, "/paths/~1api~1users~1{id}~1key-areas/post");
    agrees::<key_areas::Draft>(&document, "/paths/~1api~1users~1{id}~1key-areas~1{areaId}/put");
    agrees::<ai_settings::Changes>(&document, "/paths/~1api~1users~1ai-settings/post");
    agrees::<google::Prepare>(&document, "/paths/~1api~1auth~1google~1prepare/post");
    agrees::<meetings::Draft>(&document, "/paths/~1api~1meetings/post");
    agrees::<meetings::Changes>(&document, "/paths/~1api~1meetings~1{id}/put");
    agrees::<tasks::Draft>(&document, "/paths/~1api~1meetings~1{id}~1tasks/post");
    agrees::<tasks::Changes>(&document, "/paths/~1api~1meetings~1{id}~1tasks~1{taskId}/patch");
}

#[test]
fn problem_details_match_the_code() {
    let mut told = Vec::new();
    let mut left = vec![document()];
    while let Some(node) = left.pop() {
        if let Some(detail) = node["detail"].as_str() {
            told.push((node["type"].clone(), detail.to_owned()));
        }
        match node {
            Value::Object(members) => left.extend(members.into_iter().map(|(_, inner)| inner)),
            Value::Array(items) => left.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let by_hand = ["unauthorized", "forbidden", "conflict"].map(|kind| json!(format!("urn:seer:problem:{kind}")));
    told.retain(|(kind, _)| by_hand.contains(kind));
    assert!(told.len() > 10, "{told:?}");
    for (_, detail) in told {
        let said = SOURCES.iter().any(|source| source.contains(&format!("\"{detail}\"")));
        assert!(said, "no code says {detail:?}");
    }
}

/// Two routes may describe one schema, in any order.
#[test]
fn order_of_routes_changes_nothing() {
    assert_eq!(describing(routes::ROUTES.iter().rev()), document());
}

#[test]
fn references_resolve() {
    let document = document();
    let text = document.to_string();
    let references: Vec<_> = text
        .split("\"$ref\":\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(references.len() > 100);
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

/// A body too large for the gateway, or for Lambda, never reaches the function that would answer with a problem.
#[test]
fn oversized_body_has_two_refusals() {
    let document = document();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
    let mut with_body = 0;
    for operation in operations.filter(|operation| !operation["requestBody"].is_null()) {
        with_body += 1;
        let response = resolved(&document, &operation["responses"]["413"]);
        let kinds: Vec<_> = response["content"].as_object().unwrap().keys().collect();
        let id = &operation["operationId"];
        assert_eq!(kinds, ["application/json", "application/problem+json"], "{id}");
        assert!(response["headers"]["X-Request-Id"].is_null(), "{id}");
    }
    assert!(with_body > 0);
}
