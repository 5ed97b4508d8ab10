//! CORS as API Gateway applies it: by the origins of the configuration, on every answer, instead of the function's own.
//!
//! Invariants: does no I/O. Depends on: the same lists in `template.yaml`, which a test compares.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};

/// The methods that a page may use.
pub const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// The headers that a page may send.
pub const REQUEST_HEADERS: [&str; 4] = ["authorization", "content-type", "idempotency-key", "if-match"];
/// The headers of an answer that a page may read.
pub const EXPOSED_HEADERS: [&str; 6] = [
    "etag",
    "link",
    "location",
    "idempotency-replayed",
    "retry-after",
    "x-request-id",
];
/// How long a browser may remember the answer to a preflight request, in seconds.
pub const MAX_AGE: u32 = 3600;

const PREFIX: &str = "access-control-";

/// The origins whose pages may call, with credentials.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Creates the list; without any, the gateway answers no preflight request and sets no header.
    ///
    /// # Errors
    /// Fails if one is not an origin as browsers send it: scheme, host, and a port that is not the scheme's own.
    pub fn new(origins: &[String]) -> anyhow::Result<Self> {
        for origin in origins {
            let sent = url::Url::parse(origin).map(|url| url.origin().ascii_serialization());
            anyhow::ensure!(
                sent.is_ok_and(|sent| sent == *origin),
                "{origin} is not an origin as browsers send it, such as http://localhost:5173: no path, no slash at its end"
            );
        }
        Ok(Self(origins.to_vec()))
    }

    /// Returns the request's origin if it is one of these.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let sent = headers.get(header::ORIGIN)?;
        let known = self.0.iter().any(|origin| origin.as_bytes() == sent.as_bytes());
        known.then(|| sent.clone())
    }

    /// Returns whether a request is a browser's preflight request, which the gateway answers itself on any path.
    /// Without an allowed origin the answer has no headers, and the browser does not send the request.
    pub(super) fn preflight(&self, request: &Request<Body>) -> bool {
        let headers = request.headers();
        !self.0.is_empty()
            && request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Sets the headers of an answer to a request from `origin`, in place of the function's own.
    pub(super) fn mark(&self, response: &mut Response, origin: Option<HeaderValue>, preflight: bool) {
        if self.0.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        let own = headers.keys().filter(|name| name.as_str().starts_with(PREFIX));
        for name in own.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        if preflight {
            set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &METHODS.join(","));
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                &REQUEST_HEADERS.join(","),
            );
            set(headers, header::ACCESS_CONTROL_MAX_AGE, &MAX_AGE.to_string());
        } else {
            set(
                headers,
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                &EXPOSED_HEADERS.join(","),
            );
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_accepted() {
        let new = |origin: &str| Origins::new(&[origin.to_owned()]);
        for good in ["http://localhost:5173", "https://app.example.com", "http://[::1]:5173"] {
            assert!(new(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "null",
            "localhost:5173",
            "http://localhost:5173/",
            "http://localhost:80",
            "https://App.example.com",
            "https://app.example.com/path",
            "",
        ] {
            assert!(new(bad).is_err(), "{bad}");
        }
    }
}
