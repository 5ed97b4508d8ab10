//! Route files and events: the rules for a route file's code, and the answer to each event. `cargo seer routes --check`,
//! a test of the command, compares names, methods and paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use local::lambda::{Lambda, Options, Outcome};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::answer::Answer;
use super::backend::{Backend, ROUTES, WEBHOOK_SECRET, functions, invoke, workspace};

/// Functions that serve no route.
pub const NO_ROUTES: [&str; 1] = ["migrations-run"];

/// Returns the files of a folder with this extension: their names without it, and their text.
pub fn files(folder: &str, extension: &str) -> BTreeMap<String, String> {
    let folder = workspace().join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

/// Returns the method and path of each function, as in the router.
pub fn routes() -> BTreeMap<String, String> {
    ROUTES
        .iter()
        .map(|route| (route.function.clone(), route.key()))
        .collect()
}

/// The document shows the same body, ids and need of a token as the event.
#[test]
fn events_are_the_examples_of_openapi() {
    let document = fs::read_to_string(workspace().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations: Vec<_> = paths
        .flat_map(|methods| methods.as_object().unwrap().values())
        .collect();
    assert_eq!(operations.len(), routes().len(), "run cargo seer routes --check");
    let events = files("tests/events", "json");
    for operation in operations {
        let name = operation["operationId"].as_str().unwrap();
        let event: Value = serde_json::from_str(&events[name]).unwrap();
        let public = operation["security"] == json!([]);
        let authorizer = event["requestContext"].get("authorizer");
        assert_eq!(public, authorizer.is_none(), "{name}: who needs a token?");
        let body = event["body"]
            .as_str()
            .map(|body| serde_json::from_str::<Value>(body).unwrap());
        let described = operation.pointer("/requestBody/content/application~1json/example");
        assert_eq!(body.as_ref(), described, "{name}: the event's body is the example");
        let empty = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&empty);
        let in_path = parameters.iter().filter(|one| one["in"] == "path");
        let ids: serde_json::Map<_, _> = in_path
            .map(|one| (one["name"].as_str().unwrap().to_owned(), one["example"].clone()))
            .collect();
        let sent = event.get("pathParameters").cloned().unwrap_or_else(|| json!({}));
        assert_eq!(sent, Value::Object(ids), "{name}: the event's ids are the examples");
    }
}

#[test]
fn route_file_holds_only_a_route() {
    for (name, source) in files("functions/src/bin", "rs") {
        let (route, _) = source.split_once("\nfunctions::describe!").unwrap_or((&source, ""));
        let lines = route.lines().count();
        assert!(lines < 40, "{name}.rs has {lines} lines before its description");
        let code = source
            .lines()
            .filter(|line| !line.starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        for word in [
            "sqlx",
            "SELECT",
            "INSERT",
            "UPDATE",
            "DELETE FROM",
            "env::",
            "loop",
            "sleep",
            "unwrap",
            "expect(",
            "StatusCode",
            "tracing",
            "#[cfg(test)]",
            "std::thread",
            "static ",
        ] {
            assert!(!code.contains(word), "{name}.rs has {word:?}");
        }
    }
}

/// Starts a service on a database as `cargo local` leaves it: migrated, and seeded at each of two starts.
async fn seeded() -> Backend {
    let backend = Backend::start().await;
    backend.execute(include_str!("../../cli/src/seed.sql")).await;
    backend.execute(include_str!("../../cli/src/seed.sql")).await;
    backend
}

/// Returns the status of a function's answer to its event on a seeded database.
pub fn expected_status(function: &str) -> u16 {
    match function {
        "invitations-create" | "key-areas-create" | "meetings-create" | "tasks-create" | "users-register" => 201,
        "meetings-delete" | "tasks-delete" => 204,
        "ai-settings-save" | "google-prepare" => 501,
        // Its timestamp is long past.
        "clerk-webhook" | "meetings-webhook" | "meetings-webhook-alias" => 401,
        _ => 200,
    }
}

#[tokio::test]
async fn seeded_database_answers_events() {
    for (name, event) in files("tests/events", "json") {
        let backend = seeded().await;
        if name == "health-scheduled" {
            let invocation = backend.invoke("health", event.into_bytes()).await;
            let Outcome::Success(report) = invocation.outcome else {
                panic!("{:?}", invocation.outcome)
            };
            assert_eq!(serde_json::from_slice::<Value>(&report).unwrap()["status"], "ok");
            continue;
        }
        let answer = backend.send(&name, event.into_bytes(), false).await;
        assert_eq!(answer.status, expected_status(&name), "{name}: {}", answer.body);
        if answer.status == 200 {
            assert_ne!(answer.json(), json!([]), "{name}.json finds nothing of the seed");
        }
    }
}

/// With a new signature, it refers to a meeting of the seed data.
#[tokio::test]
async fn webhook_event_is_only_too_old() {
    let backend = seeded().await;
    let mut event: Value = serde_json::from_str(&files("tests/events", "json")["meetings-webhook"]).unwrap();
    let now = chrono::Utc::now().timestamp();
    let headers = event["headers"].as_object().unwrap();
    let prefix = if headers.contains_key("webhook-id") {
        "webhook"
    } else {
        "svix"
    };
    let id = headers[&format!("{prefix}-id")].as_str().unwrap().to_owned();
    let signer = Webhook::new(WEBHOOK_SECRET).unwrap();
    let signature = signer
        .sign(&id, now, event["body"].as_str().unwrap().as_bytes())
        .unwrap();
    event["headers"][format!("{prefix}-timestamp")] = json!(now.to_string());
    event["headers"][format!("{prefix}-signature")] = json!(signature);
    let changed = "SELECT count(*) FROM meetings WHERE version > 1";
    assert_eq!(backend.number(changed).await, 0);
    backend.send("meetings-webhook", event, false).await.is(200);
    assert_eq!(backend.number(changed).await, 1);
}

/// `cargo lambda watch` sends a deadline of 1970, no authorizer and `$default` for a route key.
#[tokio::test]
async fn cargo_lambda_event_is_answered() {
    let backend = seeded().await;
    for (name, event) in files("tests/events", "json") {
        let mut event: Value = serde_json::from_str(&event).unwrap();
        let Some(context) = event.get_mut("requestContext") else {
            continue;
        };
        context["routeKey"] = json!("$default");
        context.as_object_mut().unwrap().remove("authorizer");
        event["routeKey"] = json!("$default");
        let answer = backend.send(&name, event, false).await;
        let expected = match name.as_str() {
            "health" => 200,
            "google-prepare" => 501,
            _ => 401,
        };
        assert_eq!(answer.status, expected, "{name}: {}", answer.body);
    }
}

#[tokio::test]
async fn url_and_webhook_secrets_suffice() {
    let backend = seeded().await;
    let mut bare = functions(backend.url());
    for function in &mut bare {
        let needed: BTreeSet<_> = function.env.iter().map(|(name, _)| name.as_str()).collect();
        let all = ["CLERK_WEBHOOK_SECRET", "DATABASE_URL", "WEBHOOK_SECRET"];
        assert_eq!(needed, BTreeSet::from(all));
        if !function.name.contains("webhook") {
            function.env.retain(|(name, _)| name == "DATABASE_URL");
        }
    }
    let lambda = Lambda::start(bare, Options::default()).unwrap();
    for (name, event) in files("tests/events", "json")
        .into_iter()
        .filter(|(name, _)| name.ends_with("-list"))
    {
        Answer::of(&name, invoke(&lambda, &name, event.into_bytes()).await).is(200);
    }
}
