//! Describes an operation: parameters, body, answers, problems.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::capitalised;
use super::route::Route;
use super::schemas;
use crate::SERVICE;
use shared::db::{self, Kind, Phase};
use shared::http::Error;
use shared::http::KEY_RULE;
use shared::http::page::CURSOR_RULE;
use shared::text::Id;

/// The `requestId` of examples.
const REQUEST: &str = "8f3b2a10-4c5d-4e6f-9a7b-0c1d2e3f4a5b";

/// One operation: a binary and its route. A route file describes its own, with [`describe!`](crate::describe).
pub struct Operation {
    function: &'static str,
    method: String,
    path: &'static str,
    members: Map<String, Value>,
    parameters: Vec<Value>,
    responses: BTreeMap<u16, Value>,
    problems: Vec<Error>,
    token: bool,
}

impl Operation {
    /// Creates the operation of a route file, for callers with a token. If the file's documentation names no route, the
    /// operation has no path, and `cargo seer routes --check` fails.
    pub(super) fn new(function: &'static str, source: &'static str) -> Self {
        let resource = |(tag, _): &(&'static str, _)| function.starts_with(tag).then_some(*tag);
        let resource = super::TAGS.iter().find_map(resource);
        let mut members = Map::new();
        members.insert("operationId".to_owned(), function.into());
        members.insert("tags".to_owned(), json!([resource]));
        let (mut method, mut path) = (String::new(), "");
        if let Some(route) = Route::of_source(source) {
            (method, path) = (route.method.to_ascii_lowercase(), route.path);
            let summary = format!("{}.", capitalised(route.summary));
            members.insert("summary".to_owned(), summary.into());
            members.insert("description".to_owned(), route.repeat.into());
        }
        Self {
            function,
            method,
            path,
            members,
            parameters: Vec::new(),
            responses: BTreeMap::new(),
            problems: vec![Error::Internal(String::new())],
            token: true,
        }
    }

    /// Requires no token.
    pub fn public(mut self) -> Self {
        self.members.insert("security".to_owned(), json!([]));
        self.token = false;
        self
    }

    /// Requires a registered caller.
    pub fn registered(self) -> Self {
        self.refuses(Error::unknown_caller())
    }

    /// Adds an id in the path.
    pub fn id(mut self, name: &str, description: &str, example: &str) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": description,
            "schema": schemas::of::<Id>(),
            "example": example,
        }));
        self.refuses(Error::field(name, Id::RULE))
    }

    /// Adds a parameter of the query string.
    pub fn query<T: ToSchema>(mut self, name: &str, description: &str) -> Self {
        self.parameters
            .push(json!({"name": name, "in": "query", "description": description, "schema": schemas::of::<T>()}));
        self
    }

    /// Adds a page's `limit` and `cursor`.
    pub fn paged(mut self) -> Self {
        for name in ["Limit", "Cursor"] {
            self.parameters
                .push(json!({"$ref": format!("#/components/parameters/{name}")}));
        }
        self.refuses(Error::field("cursor", CURSOR_RULE))
    }

    /// Adds a header that not every sender has.
    pub fn header(mut self, name: &str, description: &str, example: &str) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": "header",
            "required": false,
            "description": description,
            "schema": {"type": "string", "minLength": 1},
            "example": example,
        }));
        self
    }

    /// Adds a JSON body of the usual size.
    pub fn body(self, schema: Value, required: bool, example: Value) -> Self {
        self.body_up_to(SERVICE.largest_body, schema, required, example)
    }

    /// Adds a JSON body of at most `limit` bytes.
    pub fn body_up_to(mut self, limit: usize, schema: Value, required: bool, example: Value) -> Self {
        let body = json!({
            "required": required,
            "content": {"application/json": {"schema": schema, "example": example}},
        });
        self.members.insert("requestBody".to_owned(), body);
        self.refuses(Error::Malformed(
            "The body is not valid JSON: line 1, column 2.".to_owned(),
        ))
        .refuses(Error::TooLarge(limit))
        .refuses(Error::UnsupportedMediaType)
        .refuses(Error::field("body", "must be a JSON object"))
    }

    /// Adds the problems of a read.
    pub fn reads(self) -> Self {
        self.refuses(db::Error::bare(Kind::Refused, Phase::Connect).into())
    }

    /// Adds the problems of a write that has its own idempotency key.
    pub fn writes(self) -> Self {
        self.reads()
            .refuses(db::Error::bare(Kind::CommitUnknown, Phase::Commit).into())
            .refuses(Error::KeyReused)
    }

    /// Adds the problems of a write, and the Idempotency-Key.
    pub fn keyed(mut self) -> Self {
        self.parameters
            .push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
        self.writes().refuses(Error::field("Idempotency-Key", KEY_RULE))
    }

    /// Adds If-Match.
    pub fn conditional(mut self) -> Self {
        self.parameters.push(json!({"$ref": "#/components/parameters/IfMatch"}));
        self.refuses(Error::precondition_failed())
    }

    /// Adds a problem, as it is answered.
    pub fn refuses(mut self, error: Error) -> Self {
        self.problems.push(error);
        self
    }

    /// Adds an answer with a JSON body, and its headers from the components.
    pub fn answers(
        self,
        status: u16,
        description: &str,
        headers: &[(&str, &str)],
        schema: Value,
        example: Value,
    ) -> Self {
        let content = json!({"application/json": {"schema": schema, "example": example}});
        self.answers_with(status, description, headers, Some(content))
    }

    /// Adds 200 with a page of a list of this item.
    pub fn answers_page(self, schema: Value, item: Value) -> Self {
        self.answers(200, "A page", &[("Link", "Link")], schema, json!([item]))
    }

    /// Adds 204.
    pub fn answers_nothing(self, description: &str) -> Self {
        self.answers_with(204, description, &[], None)
    }

    fn answers_with(
        mut self,
        status: u16,
        description: &str,
        headers: &[(&str, &str)],
        content: Option<Value>,
    ) -> Self {
        let mut response = json!({"description": description, "headers": self::headers(headers)});
        if let Some(content) = content {
            response["content"] = content;
        }
        self.responses.insert(status, response);
        self
    }

    /// Returns its method in lower case and its path.
    pub(super) fn place(&self) -> (String, &'static str) {
        (self.method.clone(), self.path)
    }

    /// Returns the operation in OpenAPI's format.
    pub(super) fn finish(mut self) -> Value {
        if self.token {
            let detail = "This needs a bearer token with a sub claim in the Authorization header.";
            self.problems.push(Error::unauthorized(detail));
            self.problems.push(Error::TooManyRequests(Duration::from_secs(1)));
        }
        for error in self.problems {
            refuse(&mut self.responses, error, self.token);
        }
        let keyed = self
            .parameters
            .iter()
            .any(|one| one["$ref"] == "#/components/parameters/IdempotencyKey");
        if keyed || self.function == "meetings-webhook" {
            // In a replay the caller may have lost access to the resource, or it may be deleted.
            let replayed = |status: &u16| *status < 300 || [403, 404].contains(status);
            for (_, response) in self.responses.iter_mut().filter(|(status, _)| replayed(status)) {
                response["headers"]["Idempotency-Replayed"] =
                    json!({"$ref": "#/components/headers/IdempotencyReplayed"});
            }
        }
        // The gateway's answer if the limits of the route or the account are exceeded.
        self.responses.entry(429).or_insert_with(|| {
            let schema = json!({"$ref": "#/components/schemas/Failure"});
            let content = json!({"schema": schema, "example": {"message": "Too Many Requests"}});
            json!({"description": "Too many requests", "content": {"application/json": content}})
        });
        let responses: BTreeMap<_, _> = self
            .responses
            .into_iter()
            .map(|(status, one)| (status.to_string(), one))
            .collect();
        if !self.parameters.is_empty() {
            self.members.insert("parameters".to_owned(), self.parameters.into());
        }
        self.members.insert("responses".to_owned(), json!(responses));
        self.members.into()
    }
}

/// Returns references to headers of the components.
fn headers(named: &[(&str, &str)]) -> Map<String, Value> {
    let every = [("X-Request-Id", "RequestId")];
    let all = every.iter().chain(named);
    all.map(|(name, component)| {
        let reference = json!({"$ref": format!("#/components/headers/{component}")});
        ((*name).to_owned(), reference)
    })
    .collect()
}

/// Adds a problem to the responses of its status: from the response of the error.
fn refuse(responses: &mut BTreeMap<u16, Value>, error: Error, token: bool) {
    let (status, sent, problem) = error.into_response(&crate::SERVICE, REQUEST).into_parts();
    let response = responses
        .entry(status)
        .or_insert_with(|| json!({"description": problem["title"], "headers": headers(&[])}));
    let title = problem["title"].as_str().unwrap_or_default();
    let said = response["description"].as_str().unwrap_or_default();
    if !said.split(", or ").any(|part| part == title) {
        response["description"] = format!("{said}, or {title}").into();
    }
    for (name, component) in [("retry-after", "RetryAfter"), ("www-authenticate", "Authenticate")] {
        if sent.iter().any(|(sent, _)| sent == name) {
            let canonical = if name == "retry-after" {
                "Retry-After"
            } else {
                "WWW-Authenticate"
            };
            response["headers"][canonical] = json!({"$ref": format!("#/components/headers/{component}")});
        }
    }
    let content = &mut response["content"]["application/problem+json"];
    if content.is_null() {
        *content = json!({
            "schema": {"$ref": "#/components/schemas/Problem"},
            "examples": {},
        });
    }
    let kind = problem["type"]
        .as_str()
        .and_then(|kind| kind.rsplit(':').next())
        .unwrap_or_default();
    if let Some(examples) = content["examples"].as_object_mut() {
        let again = examples.keys().filter(|name| name.starts_with(kind)).count();
        let name = if again == 0 {
            kind.to_owned()
        } else {
            format!("{kind}-{}", again + 1)
        };
        examples.insert(name, json!({"value": problem}));
    }
    // The gateway's own: a token that it rejects, a body larger than its limit, a function that did not answer.
    let message = match status {
        401 if token => "Unauthorized",
        413 => "Request Entity Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => return,
    };
    let schema = json!({"$ref": "#/components/schemas/Failure"});
    response["content"]["application/problem+json"]["schema"] = schema.clone();
    response["content"]["application/json"] = json!({"schema": schema, "example": {"message": message}});
    // The gateway's answer has no function's id.
    if let Some(headers) = response["headers"].as_object_mut() {
        headers.remove("X-Request-Id");
    }
}
