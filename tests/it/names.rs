//! Consistent names: a route's file, its binary, its entry in the router and its event have the same name, and all have
//! the same method and path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use local::lambda::{Lambda, Options, Outcome};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::answer::Answer;
use super::backend::{Backend, ROUTES, WEBHOOK_SECRET, binary, functions, invoke, workspace};

/// Functions that serve no route: the rules about names apply to them, the rules about routes do not.
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

/// Returns the differences between two sets, with the fix.
fn differences(
    one: &BTreeSet<String>,
    other: &BTreeSet<String>,
    only_in_one: impl Fn(&str) -> String,
    only_in_other: impl Fn(&str) -> String,
) -> Vec<String> {
    let lacking = one.difference(other).map(|name| only_in_one(name));
    lacking
        .chain(other.difference(one).map(|name| only_in_other(name)))
        .collect()
}

#[test]
fn route_names_agree_everywhere() {
    let names: BTreeSet<_> = routes().into_keys().collect();
    assert_eq!(ROUTES.iter().count(), names.len(), "a function serves two routes");
    let mut sources: BTreeSet<_> = files("functions/src/bin", "rs").into_keys().collect();
    let mut events: BTreeSet<_> = files("tests/events", "json").into_keys().collect();
    for name in NO_ROUTES {
        assert!(sources.remove(name), "functions/src/bin has no {name}.rs");
        assert!(binary(name).is_file(), "cargo built no {name}");
    }
    assert!(
        events.remove("health-scheduled"),
        "tests/events has no health-scheduled.json"
    );
    let mut found = differences(
        &sources,
        &names,
        |name| format!("{name}: enter it in the router of Cargo.toml ([workspace.metadata.lambda.watch.router])"),
        |name| format!("{name}: the router of Cargo.toml has it; write functions/src/bin/{name}.rs"),
    );
    found.extend(differences(
        &sources,
        &events,
        |name| format!("{name}: write its event, tests/events/{name}.json"),
        |name| format!("{name}: tests/events/{name}.json is for no file of functions/src/bin"),
    ));
    let unbuilt = sources.iter().filter(|name| !binary(name).is_file());
    found.extend(unbuilt.map(|name| format!("{name}: cargo built none; enter it in functions/Cargo.toml")));
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(names.len(), 17, "the contract has seventeen");
}

#[test]
fn method_and_path_agree() {
    let events = files("tests/events", "json");
    for (name, source) in files("functions/src/bin", "rs") {
        if NO_ROUTES.contains(&name.as_str()) {
            continue;
        }
        let routes = routes();
        let route = routes
            .get(&name)
            .unwrap_or_else(|| panic!("{name}: enter it in the router of Cargo.toml"));
        let doc = source.lines().next().unwrap();
        assert!(
            doc.starts_with(&format!("//! `{route}`")),
            "{name}.rs begins with {doc:?} and serves {route}"
        );
        let call = |main: &str| format!("SERVICE.{main}(\"{route}\"").replace(' ', "");
        let source = source.split_whitespace().collect::<String>();
        let runs = ["run", "run_health"].iter().any(|main| source.contains(&call(main)));
        assert!(runs, "{name}.rs does not run {route}");

        let event = events
            .get(&name)
            .unwrap_or_else(|| panic!("{name}: write its event, tests/events/{name}.json"));
        let event: Value = serde_json::from_str(event).unwrap();
        let context = &event["requestContext"];
        assert_eq!(event["routeKey"], route.as_str(), "{name}.json");
        assert_eq!(context["routeKey"], route.as_str(), "{name}.json");
        let (method, path) = (
            context["http"]["method"].as_str().unwrap(),
            event["rawPath"].as_str().unwrap(),
        );
        let matched = ROUTES
            .find(method, path)
            .unwrap_or_else(|| panic!("{name}.json is for no route: {method} {path}"));
        assert_eq!(matched.route.function, name, "{name}.json is for another function");
        assert_eq!(context["http"]["path"], path, "{name}.json");
        let parameters = event.get("pathParameters").cloned().unwrap_or_else(|| json!({}));
        assert_eq!(parameters, json!(matched.parameters), "{name}.json");
    }
}

/// Capitalizes a sentence, as in a heading.
fn capitalised(sentence: &str) -> String {
    let (first, rest) = sentence.split_at(1);
    first.to_uppercase() + rest
}

/// `cargo seer openapi --check`, in the tests of the command, says whether the document is the code's.
#[test]
fn every_route_is_in_openapi() {
    let document = fs::read_to_string(workspace().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut operations = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            let route = format!("{} {path}", method.to_uppercase());
            let other = operations.insert(name, (route, operation));
            assert!(other.is_none(), "{method} {path} has the id of {other:?}");
        }
    }
    let found = differences(
        &routes().into_keys().collect(),
        &operations.keys().cloned().collect(),
        |name| format!("{name}: describe it in functions/src/openapi, then run cargo seer openapi --write"),
        |name| format!("{name}: openapi.json has it, the router of Cargo.toml has not"),
    );
    assert!(found.is_empty(), "{found:#?}");

    let events = files("tests/events", "json");
    let sources = files("functions/src/bin", "rs");
    for (name, (route, operation)) in &operations {
        assert_eq!(route, &routes()[name], "{name}");
        let source = sources
            .get(name)
            .unwrap_or_else(|| panic!("{name}: write functions/src/bin/{name}.rs"));
        let mut docs = source.lines().map(|line| line.trim_start_matches("//! "));
        let (_, summary) = docs.next().unwrap().split_once(": ").unwrap();
        assert_eq!(operation["summary"], capitalised(summary), "{name}");
        assert_eq!(operation["description"], docs.next().unwrap(), "{name}");

        let event = events
            .get(name)
            .unwrap_or_else(|| panic!("{name}: write its event, tests/events/{name}.json"));
        let event: Value = serde_json::from_str(event).unwrap();
        let public = operation["security"] == json!([]);
        assert_eq!(
            public,
            event["requestContext"].get("authorizer").is_none(),
            "{name}: who needs a token?"
        );
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
        let lines = source.lines().count();
        assert!(lines < 40, "{name}.rs has {lines} lines");
        let docs: Vec<_> = source.lines().take_while(|line| line.starts_with("//!")).collect();
        assert_eq!(
            docs.len(),
            2,
            "{name}.rs: method, path and what it does; why a retry is safe"
        );
        assert!(
            docs[1].starts_with("//! Safe to repeat: "),
            "{name}.rs does not say why a retry is safe"
        );
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
        "invitations-create" | "meetings-create" | "tasks-create" | "users-register" => 201,
        "meetings-delete" | "tasks-delete" => 204,
        // Its timestamp is long past.
        "meetings-webhook" => 401,
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
        if let Some(items) = (answer.status == 200)
            .then(|| answer.json()["items"].clone())
            .and_then(|i| i.as_array().cloned())
        {
            assert!(!items.is_empty(), "{name}.json finds nothing of the seed");
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
        assert_eq!(
            answer.status,
            if name == "health" { 200 } else { 401 },
            "{name}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn url_and_webhook_secret_suffice() {
    let backend = seeded().await;
    let mut bare = functions(backend.url());
    for function in &mut bare {
        let needed: BTreeSet<_> = function.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(needed, BTreeSet::from(["DATABASE_URL", "WEBHOOK_SECRET"]));
        if function.name != "meetings-webhook" {
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
