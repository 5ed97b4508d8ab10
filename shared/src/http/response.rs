//! A handler's response: status, headers, a JSON body.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use http::{HeaderValue, StatusCode};
use problem_details::ProblemDetails;
use serde::{Serialize, Serializer};

use super::problem::{Error, Failure, FieldError};
use super::size::{ANSWER_LIMIT, weight_of_text};
use crate::service::Service;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
    /// The last part of a problem's `type`.
    pub(super) problem: Option<&'static str>,
    /// Why the service failed, for the log line.
    pub(super) failure: Option<Box<Failure>>,
}

impl Response {
    /// Returns 200 with a JSON body.
    pub fn ok<T: Serialize>(body: &T) -> Self {
        Self::json(StatusCode::OK, "application/json", body)
    }

    /// Returns 201 with a JSON body; [`at`](Self::at) adds the location of the new resource.
    pub fn created<T: Serialize>(body: &T) -> Self {
        Self::json(StatusCode::CREATED, "application/json", body)
    }

    /// Adds a Location.
    pub fn at(self, location: impl Into<String>) -> Self {
        self.with_header("location", location)
    }

    /// Returns 204.
    pub fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT.as_u16(),
            headers: Vec::new(),
            body: None,
            problem: None,
            failure: None,
        }
    }

    /// Returns 503 with a JSON body: health's response if the database is down, because of `failure`.
    pub(crate) fn unavailable<T: Serialize>(body: &T, failure: Option<Failure>) -> Self {
        let response = Self::json(StatusCode::SERVICE_UNAVAILABLE, "application/json", body);
        let failure = failure.map(Box::new);
        Self { failure, ..response }
    }

    /// Returns a problem (RFC 9457).
    pub(super) fn problem<T: Serialize>(status: StatusCode, problem: &T) -> Self {
        Self::json(status, "application/problem+json", problem)
    }

    fn json<T: Serialize>(status: StatusCode, content_type: &str, body: &T) -> Self {
        // Serializing these types never fails; if it did, the client would still get a response.
        let (status, body) = match serde_json::to_string(body) {
            Ok(body) => (status, body),
            Err(error) => {
                tracing::error!(%error, "a response could not be written as JSON");
                (StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned())
            }
        };
        Self {
            status: status.as_u16(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Some(body),
            problem: None,
            failure: None,
        }
    }

    /// Adds a header; `name` in lower case.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds the version as a strong entity tag (RFC 9110 §8.8.3).
    pub fn with_etag(self, version: i32) -> Self {
        self.with_header("etag", format!("\"{version}\""))
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns whether Lambda accepts it: at most 6 MB, with the body as text within JSON.
    pub fn fits(&self) -> bool {
        // Escaping at most doubles it, so that a typical body need not be scanned.
        let fits = |body: &str| body.len() <= ANSWER_LIMIT / 2 || weight_of_text(body) <= ANSWER_LIMIT;
        self.body.as_deref().is_none_or(fits)
    }

    /// Returns itself, or a problem if Lambda would reject it.
    pub(super) fn limited(self, service: &Service, request_id: &str) -> Self {
        if self.fits() {
            return self;
        }
        Error::Internal("an answer is larger than the 6 MB that Lambda takes".to_owned())
            .into_response(service, request_id)
    }

    /// Returns status, headers and JSON body, for the description of the API.
    #[cfg(feature = "openapi")]
    pub fn into_parts(self) -> (u16, Vec<(String, String)>, serde_json::Value) {
        let body = self.body.and_then(|body| serde_json::from_str(&body).ok());
        (self.status, self.headers, body.unwrap_or_default())
    }

    /// Marks the response as a replay, with the status of the first response.
    pub(super) fn replayed(mut self, status: u16) -> Self {
        self.status = status;
        self.with_header("idempotency-replayed", "true")
    }

    /// Converts it to API Gateway's format.
    pub(super) fn into_event(self) -> Event {
        Event {
            status_code: self.status,
            headers: self.headers,
            multi_value_headers: BTreeMap::new(),
            cookies: [],
            body: self.body,
            is_base64_encoded: false,
        }
    }
}

/// The members that RFC 9457 allows a problem to add.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extensions<'a> {
    /// Part of the extensions, because the library's own member is an `http::Uri`, which cannot represent a URN.
    r#type: String,
    /// Equal to `detail`: the member that clients show who do not know RFC 9457.
    error: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [FieldError]>,
}

impl Error {
    /// Returns the response for a client.
    pub fn into_response(self, service: &Service, request_id: &str) -> Response {
        let parts = self.parts(service);
        let problem = ProblemDetails::from_status_code(parts.status)
            .with_title(parts.title)
            .with_detail(&*parts.detail)
            .with_extensions(Extensions {
                r#type: format!("urn:{}:problem:{}", service.name, parts.kind),
                error: &parts.detail,
                request_id,
                errors: parts.errors,
            });
        let mut response = Response::problem(parts.status, &problem);
        response.problem = Some(parts.kind);
        response.failure = self.failure();
        if let Some((name, value)) = parts.header {
            response = response.with_header(name, value);
        }
        if let Some(seconds) = parts.retry_after {
            response = response.with_header("retry-after", spread(seconds, request_id).to_string());
        }
        if matches!(self, Self::Replayed(_)) {
            response = response.replayed(parts.status.as_u16());
        }
        response
    }
}

/// Chooses from a range by the request's id: evenly distributed over many requests, and always the same for one.
fn spread(seconds: RangeInclusive<u32>, request_id: &str) -> u32 {
    let width = seconds.end() - seconds.start() + 1;
    let sum = request_id
        .bytes()
        .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    seconds.start() + sum % width
}

/// A response in API Gateway's format, payload version 2.0. The runtime serializes it directly to bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    status_code: u16,
    #[serde(serialize_with = "as_map")]
    headers: Vec<(String, String)>,
    /// Always empty, like the next one: cargo-lambda's server rejects responses without them.
    multi_value_headers: BTreeMap<String, String>,
    cookies: [String; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

/// Leaves out values that HTTP forbids in a header: the gateway would replace the whole response with a 500.
fn as_map<S: Serializer>(headers: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    let valid = headers.iter().filter(|(_, value)| HeaderValue::from_str(value).is_ok());
    to.collect_map(valid.map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_has_first_status_and_mark() {
        let again = Response::ok(&serde_json::json!({"id": 1})).replayed(201);
        assert_eq!(again.status, 201);
        let marked = ("idempotency-replayed".to_owned(), "true".to_owned());
        assert!(again.headers.contains(&marked));
    }

    /// The rest is a response of payload format 2.
    #[test]
    fn response_omits_bad_headers() {
        let response = Response::ok(&serde_json::json!({"a": "\""}))
            .with_header("location", "/x\n")
            .with_etag(3);
        let event = serde_json::to_value(response.into_event()).unwrap();
        let expected = serde_json::json!({
            "statusCode": 200,
            "headers": {"content-type": "application/json", "etag": "\"3\""},
            "multiValueHeaders": {},
            "cookies": [],
            "body": r#"{"a":"\""}"#,
            "isBase64Encoded": false,
        });
        assert_eq!(event, expected);
        let empty = serde_json::to_value(Response::no_content().into_event()).unwrap();
        assert!(empty.get("body").is_none());
    }
}
