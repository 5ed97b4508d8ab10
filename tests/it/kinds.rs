//! Values of every JSON type, at every place of every body: rejected in terms that every client understands.

use serde_json::{Value, json};

use super::answer::Answer;
use super::backend::{ROUTES, workspace};
use super::bad_input::Bodies;
use super::people::{Person, with};
use super::webhook::{Delivery, complete, status};

/// One value of each JSON type.
fn kinds() -> [Value; 7] {
    [
        json!(null),
        json!(true),
        json!(5),
        json!(1.5),
        json!("x"),
        json!([[]]),
        json!({"x": {}}),
    ]
}

/// Collects the paths of a value and of everything in it.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{number}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{path}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// [`Answer::of`] checks the answer: none may mention Rust's types.
#[tokio::test]
async fn any_value_is_taken_or_refused() {
    let all = Bodies::start().await;
    let document = std::fs::read_to_string(workspace().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut refused = 0;
    let mut seen = |answer: Answer, place: &str, value: &Value| {
        assert!(
            answer.status < 300 || matches!(answer.status, 403 | 404 | 409 | 422),
            "{place} {value}: {} {}",
            answer.status,
            answer.body
        );
        refused += u32::from(answer.status == 422);
    };
    for route in &all.routes {
        let matched = ROUTES.find(route.method, &route.path).unwrap();
        let operation = &document["paths"][&matched.route.path][route.method.to_lowercase()];
        let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref");
        let schema = document.pointer(schema.unwrap().as_str().unwrap().trim_start_matches('#'));
        let fields = schema.unwrap()["properties"].as_object().unwrap();
        for value in kinds() {
            seen(all.to(route).json(&value).send().await, "", &value);
            for field in fields.keys() {
                for value in [value.clone(), json!([value])] {
                    let body = with(route.body.clone(), json!({field: value}));
                    seen(all.to(route).json(&body).send().await, field, &value);
                }
            }
        }
    }
    let ada = Person::stranger("ada");
    for value in kinds() {
        let call = all.backend.post("/api/users/register").by(&ada);
        seen(call.json(&value).send().await, "", &value);
    }
    for event in [complete("nobody"), status("nobody", "call_ended", "09:30:00")] {
        let mut paths = Vec::new();
        places(&event, "", &mut paths);
        for path in paths {
            for value in kinds() {
                let mut changed = event.clone();
                *changed.pointer_mut(&path).unwrap() = value.clone();
                seen(Delivery::of(&changed).send(&all.backend).await, &path, &value);
            }
        }
    }
    assert!(refused > 400, "only {refused} were refused");
}
