//! An emulator of Secrets Manager, as far as functions use it: one secret, and injected failures.
//!
//! For behaviour that neither the real service nor another emulator shows on request: rejecting, failing, not
//! answering, reporting the requests it received. It verifies no signature, only that there is one. Rotation itself is
//! tested against an independent emulation (`tests/credentials.py`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The secret's name.
pub const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:seer-AbCdEf";

/// How every request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// With the secret.
    #[default]
    Well,
    /// The role may not read the secret.
    Denied,
    /// Too many requests.
    Throttled,
    /// An internal error of the service.
    Broken,
    /// Never.
    Silent,
}

/// A server on 127.0.0.1. Dropping it stops it.
#[derive(Debug)]
pub struct Secrets {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    versions: BTreeMap<String, String>,
    manner: Manner,
    asked: Vec<String>,
}

impl Secrets {
    /// Starts a server with one version of the secret, AWSCURRENT.
    ///
    /// # Errors
    /// Fails if there is no free port.
    pub async fn start(current: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no port for secrets")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends only with this process or when it is dropped.
            let _ = axum::serve(listener, router).await;
        });
        let secrets = Self {
            address,
            shared,
            server,
        };
        secrets.set("AWSCURRENT", current);
        Ok(secrets)
    }

    /// Returns the value for `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Moves a label to a version with this text.
    pub fn set(&self, label: &str, text: &str) {
        lock(&self.shared).versions.insert(label.to_owned(), text.to_owned());
    }

    /// Changes how requests are answered from now on.
    pub fn answer(&self, manner: Manner) {
        lock(&self.shared).manner = manner;
    }

    /// Returns the requested labels, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared).asked.clone()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, label) = (asked["SecretId"].as_str(), asked["VersionStage"].as_str());
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (manner, found) = {
        let mut shared = lock(&shared);
        // A request without a label is recorded too, as an empty one.
        let label = label.unwrap_or_default().to_owned();
        let found = shared.versions.get(&label).cloned();
        shared.asked.push(label);
        (shared.manner, found)
    };
    let signed = text("authorization").starts_with("AWS4-HMAC-SHA256 ") && !text("x-amz-security-token").is_empty();
    let known = text("x-amz-target") == "secretsmanager.GetSecretValue" && id == Some(ARN);
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Denied => refusal(
            StatusCode::BAD_REQUEST,
            "AccessDeniedException",
            "User: arn:aws:sts::123456789012:assumed-role/seer/me is not authorized to perform: \
             secretsmanager:GetSecretValue",
        ),
        Manner::Throttled => refusal(StatusCode::BAD_REQUEST, "ThrottlingException", "Rate exceeded"),
        Manner::Broken => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError", "a failure"),
        Manner::Well if !signed => refusal(
            StatusCode::BAD_REQUEST,
            "MissingAuthenticationTokenException",
            "unsigned",
        ),
        Manner::Well => match found.filter(|_| known) {
            Some(text) => json_of(
                StatusCode::OK,
                json!({"ARN": ARN, "Name": "seer", "SecretString": text, "VersionStages": [label]}),
            ),
            None => refusal(
                StatusCode::BAD_REQUEST,
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret value for staging label",
            ),
        },
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    json_of(status, json!({"__type": code, "Message": message}))
}

fn json_of(status: StatusCode, body: Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/x-amz-json-1.1")],
        body.to_string(),
    )
        .into_response()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
