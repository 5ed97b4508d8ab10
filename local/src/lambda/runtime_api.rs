//! The Lambda Runtime API and the registration part of the Extensions API, for one environment.
//!
//! Invariants: decides nothing; it translates requests into calls of [`Environment`] and holds the long polls. `/next`
//! is never answered without an event while the process lives, because a runtime panics on anything else. Paths,
//! headers and answers follow Lambda's documentation ("Using the Lambda runtime API for custom runtimes", "Using the
//! Lambda Extensions API").

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::environment::Environment;
use super::function::{ACCOUNT, VERSION};
use super::state::{Answer, Assignment};

/// The largest response, in bytes: 6 MiB and a hundred, as in the real service.
pub(super) const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024 + 100;

const EXTENSION_IDENTIFIER: &str = "lambda-extension-identifier";

type Env = State<Arc<Environment>>;

/// Serves the environment's endpoint until its process has ended.
pub(super) async fn serve(listener: TcpListener, environment: Arc<Environment>) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response).layer(Extension(Kind::Response)),
        )
        .route(
            "/2018-06-01/runtime/invocation/{id}/error",
            post(response).layer(Extension(Kind::Error)),
        )
        .route("/2018-06-01/runtime/init/error", post(failed))
        .route("/2018-06-01/runtime/restore/next", get(restore))
        .route("/2018-06-01/runtime/restore/error", post(failed))
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(extension_next))
        .with_state(Arc::clone(&environment));
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let ended = async move {
        environment.ended().await;
    };
    // It never ends with an error, and a connection whose peer is gone ends by itself.
    let _ = axum::serve(listener, router).with_graceful_shutdown(ended).await;
}

async fn next(State(environment): Env) -> Response {
    match environment.poll().await {
        Ok(assignment) => event(&environment, assignment),
        Err(_) => gone(),
    }
}

fn event(environment: &Environment, assignment: Assignment) -> Response {
    let headers = [
        ("lambda-runtime-aws-request-id", assignment.request_id),
        ("lambda-runtime-deadline-ms", assignment.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", environment.function().arn()),
        ("lambda-runtime-trace-id", trace_id()),
    ];
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (
        content_type,
        headers.map(|(name, value)| (name, value)),
        assignment.payload,
    )
        .into_response()
}

/// Returns the X-Ray trace header of an unsampled trace.
fn trace_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let (epoch, root) = (chrono::Utc::now().timestamp(), random.get(..24).unwrap_or_default());
    format!("Root=1-{epoch:08x}-{root};Parent={root:.16};Sampled=0")
}

#[derive(Clone, Copy)]
enum Kind {
    Response,
    Error,
}

async fn response(
    State(environment): Env,
    Path(request_id): Path<String>,
    Extension(kind): Extension<Kind>,
    body: Body,
) -> Response {
    if !environment.is_in_flight(&request_id) {
        return refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
    }
    let body = match Limited::new(body, PAYLOAD_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let said = format!("Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes).");
            let report = json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": said});
            environment.answer(&request_id, Answer::Error(Bytes::from(report.to_string())));
            let said = format!("Exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes).");
            return refused(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &said);
        }
        // The process aborted the request: it retries, or its end is noticed.
        Err(_) => {
            return refused(StatusCode::BAD_REQUEST, "InvalidRequest", "the body broke off");
        }
    };
    let answer = match kind {
        Kind::Response => Answer::Response(body),
        Kind::Error => Answer::Error(body),
    };
    if environment.answer(&request_id, answer) {
        accepted()
    } else {
        refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
    }
}

async fn failed(State(environment): Env, body: Bytes) -> Response {
    environment.fail(body);
    accepted()
}

async fn restore(State(environment): Env) -> Response {
    match environment.await_restore().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(_) => gone(),
    }
}

async fn register(State(environment): Env, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key("lambda-extension-name") {
        return refused(
            StatusCode::BAD_REQUEST,
            "Extension.InvalidExtensionName",
            "Empty extension name",
        );
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    if request["events"].as_array().is_some_and(|events| !events.is_empty()) {
        let said = "only an extension without events is served here";
        return refused(StatusCode::FORBIDDEN, "Extension.InvalidEventType", said);
    }
    let identifier = environment.register_extension();
    let function = environment.function();
    let mut answer = json!({
        "functionName": function.name,
        "functionVersion": VERSION,
        "handler": function.name,
    });
    if headers
        .get("lambda-extension-accept-feature")
        .is_some_and(|feature| feature == "accountId")
    {
        answer["accountId"] = json!(ACCOUNT);
    }
    (StatusCode::OK, [(EXTENSION_IDENTIFIER, identifier)], json_body(&answer)).into_response()
}

async fn extension_next(State(environment): Env, headers: HeaderMap) -> Response {
    let identifier = headers.get(EXTENSION_IDENTIFIER).and_then(|value| value.to_str().ok());
    if !identifier.is_some_and(|identifier| environment.extension_polls(identifier)) {
        return refused(
            StatusCode::FORBIDDEN,
            "Extension.UnknownExtensionIdentifier",
            "Unknown extension identifier",
        );
    }
    // No event ever comes for it; it waits as long as the environment lives.
    environment.ended().await;
    gone()
}

/// This response is never read: the process that sent the request has ended.
fn gone() -> Response {
    StatusCode::GONE.into_response()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, json_body(&json!({"status": "OK"}))).into_response()
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Response {
    (status, json_body(&json!({"errorType": kind, "errorMessage": message}))).into_response()
}

fn json_body(value: &Value) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string())
}
