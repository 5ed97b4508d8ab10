//! The HTTP server: authorizer, integration and their failures, in API Gateway's order.
//!
//! Invariants: never retries, caches or logs; reports every answer to a callback. Depends on: [`super::event`] and
//! [`super::answer`] for the two conversions, and [`crate::lambda`] for the invocation.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::answer::{message, response};
use super::cors::Origins;
use super::issuer::Issuer;
use super::routes::{Matched, Routes};
use super::token::{Claims, DevelopmentKey};
use crate::lambda::{Lambda, Outcome};

/// The largest request body in bytes.
const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// The maximum duration of an integration.
pub const INTEGRATION_LIMIT: Duration = Duration::from_secs(30);
/// How long a stop waits for requests in flight.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The settings of a gateway.
pub struct Settings {
    /// The route table.
    pub routes: Routes,
    /// The functions whose routes require no token.
    pub public: BTreeSet<String>,
    /// Verifies tokens. `None` stands for an issuer that API Gateway could not reach: it then drops the authorizer, and
    /// with it every route that requires a token, unless `FailOnWarnings` makes the deploy fail.
    pub authorizer: Option<Authorizer>,
    /// The origins whose pages may call.
    pub origins: Origins,
    /// The functions.
    pub lambda: Arc<Lambda>,
    /// Pages that are no route of the API, such as its documentation.
    pub pages: Router,
    /// Called with each answer, the gateway's own too.
    pub answered: Option<Observer>,
}

/// Receives each answer of a gateway.
pub type Observer = Arc<dyn Fn(&Answered<'_>) + Send + Sync>;

/// A request and its answer, for a log.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's path, without the query.
    pub path: &'a str,
    /// The answer's status.
    pub status: u16,
    /// How long the answer took.
    pub took: Duration,
    /// Why the request failed, as the answer tells the client.
    pub reason: Option<&'a str>,
}

/// Whose tokens are accepted.
pub enum Authorizer {
    /// Those of this machine.
    Development(DevelopmentKey),
    /// Those of an identity provider.
    Issuer(Arc<Issuer>),
}

/// A running gateway. Dropping it stops it at once and aborts requests in flight.
pub struct Gateway {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Gateway {
    /// Listens on an address (port 0 for any) and serves from now on.
    ///
    /// # Errors
    /// Fails with one line that names the address if it cannot be listened on.
    pub async fn start(address: SocketAddr, settings: Settings) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            if error.kind() == ErrorKind::AddrInUse {
                anyhow::anyhow!("port {} on {} is already in use", address.port(), address.ip())
            } else {
                anyhow::anyhow!("cannot listen on {address}: {error}")
            }
        })?;
        let address = listener.local_addr().context("the listener has no address")?;
        let pages = settings.pages.clone();
        let api = Router::new().fallback(serve).with_state(Arc::new(settings));
        let router = pages.fallback_service(api).layer(from_fn(check_host));
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async move {
                // A dropped sender stops it too.
                let _ = stopped.await;
            });
        let server = tokio::spawn(async move { server.await });
        Ok(Self {
            address,
            stop: Some(stop),
            server,
        })
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no new requests, waits up to 5 s for those in flight, and ends.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = tokio::time::timeout(STOP_LIMIT, &mut self.server).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    State(settings): State<Arc<Settings>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = settings.origins.allowed(request.headers());
    let preflight = settings.origins.preflight(&request);
    let since = Instant::now();
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        admit(&settings, peer, request).await.unwrap_or_else(|refusal| refusal)
    };
    if let Some(tell) = &settings.answered {
        let (same, reason) = reason(response).await;
        response = same;
        tell(&Answered {
            method: method.as_str(),
            path: &path,
            status: response.status().as_u16(),
            took: since.elapsed(),
            reason: reason.as_deref(),
        });
    }
    settings.origins.mark(&mut response, origin, preflight);
    response
}

/// Returns the answer, and its reason if it is an error: the authorizer's description, a problem's detail, or the
/// gateway's message.
async fn reason(response: Response) -> (Response, Option<String>) {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    // It is in memory already.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let challenge = parts.headers.get(header::WWW_AUTHENTICATE);
    let challenge = challenge
        .and_then(|challenge| challenge.to_str().ok())
        .map(|challenge| {
            let described = challenge.split_once("error_description=\"");
            described.map_or_else(
                || "no token".to_owned(),
                |(_, why)| format!("token: {}", why.trim_end_matches('"')),
            )
        });
    let reason = value["detail"].as_str().or(value["message"].as_str());
    let reason = challenge.or(reason.map(str::to_owned));
    (Response::from_parts(parts, Body::from(body)), reason)
}

/// Refuses a request for another host. If an attacker's name resolves to this machine (DNS rebinding), a browser takes
/// the gateway for a part of the attacker's site, and lets its pages read every answer. The port is not compared, so that
/// a forwarded one works.
async fn check_host(request: Request<Body>, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    match host.map(|host| Authority::try_from(host.as_bytes())) {
        Some(Err(_)) => message(StatusCode::BAD_REQUEST, "Bad Request"),
        Some(Ok(host)) if !is_this_machine(host.host()) => message(
            StatusCode::FORBIDDEN,
            "Forbidden: use localhost, 127.0.0.1 or [::1] in the address, because other names could be an attacker's",
        ),
        // Every browser sends one.
        Some(Ok(_)) | None => next.run(request).await,
    }
}

/// Returns whether a host can only be this machine.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Returns the function's answer, or the rejection of a request that reaches no function.
async fn admit(settings: &Settings, peer: SocketAddr, request: Request<Body>) -> Result<Response, Response> {
    let Some(matched) = settings.routes.find(request.method().as_str(), request.uri().path()) else {
        return Err(message(StatusCode::NOT_FOUND, "Not Found"));
    };
    let claims = if settings.public.contains(&matched.route.function) {
        None
    } else if let Some(authorizer) = &settings.authorizer {
        let claims = authorize(authorizer, request.headers()).await;
        Some(claims.map_err(unauthorized)?)
    } else {
        return Err(message(StatusCode::NOT_FOUND, "Not Found"));
    };
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"));
        }
        Err(_) => return Err(message(StatusCode::BAD_REQUEST, "Bad Request")),
    };
    let request = Request::from_parts(parts, body);
    let event = super::event(&matched, &request, claims.as_ref(), peer.ip());
    let mut response = integrate(&settings.lambda, &matched, &event).await;
    let id = event["requestContext"]["requestId"].as_str().unwrap_or_default();
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("apigw-requestid", id);
    }
    Ok(response)
}

/// Returns the token's claims, or the challenge to send.
async fn authorize(authorizer: &Authorizer, headers: &HeaderMap) -> Result<Claims, String> {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (scheme, rest) = sent.split_once(' ').unwrap_or((sent, ""));
    // API Gateway accepts the bare token as well.
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim()
    } else {
        sent
    };
    if token.is_empty() {
        return Err("Bearer".to_owned());
    }
    let verified = match authorizer {
        Authorizer::Development(key) => key.verify(token),
        Authorizer::Issuer(issuer) => issuer.verify(token).await,
    };
    verified.map_err(|why| format!(r#"Bearer scope="" error="invalid_token" error_description="{why}""#))
}

fn unauthorized(challenge: String) -> Response {
    let mut response = message(StatusCode::UNAUTHORIZED, "Unauthorized");
    let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

async fn integrate(lambda: &Lambda, matched: &Matched<'_>, event: &Value) -> Response {
    let unavailable = || message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    let invocation = lambda.invoke(&matched.route.function, event);
    let outcome = match tokio::time::timeout(INTEGRATION_LIMIT, invocation).await {
        Ok(Ok(invocation)) => invocation.outcome,
        Ok(Err(_)) => return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        Err(_) => return unavailable(),
    };
    let answered = match outcome {
        Outcome::Success(payload) => response(&payload),
        Outcome::Throttled => return unavailable(),
        Outcome::TooLarge => {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        }
        Outcome::FunctionError(_) | Outcome::TimedOut | Outcome::Crashed(_) | Outcome::InitFailed(_) => None,
    };
    answered.unwrap_or_else(|| message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
}
