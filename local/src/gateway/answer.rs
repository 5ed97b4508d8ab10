//! Converts a function's payload to an HTTP response, by the rules of payload format 2.0, and builds the gateway's own
//! answers.
//!
//! Invariants: never shows a client anything of a function's failure: the answer is `Internal Server Error`.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Headers that belong to the connection between gateway and client.
const NOT_TAKEN: [HeaderName; 4] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Returns the response for a payload; `None` if API Gateway would reject the payload.
pub(super) fn response(payload: &Bytes) -> Option<Response> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    if value.get("statusCode").is_none() {
        // Without a status the whole payload is the body.
        return Some(([(header::CONTENT_TYPE, "application/json")], payload.clone()).into_response());
    }
    let answer: Answer = serde_json::from_value(value).ok()?;
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded {
        STANDARD.decode(body).ok()?
    } else {
        body.into_bytes()
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    let headers = response.headers_mut();
    for (name, value) in answer.multi_value_headers.into_iter().chain(answer.headers).flatten() {
        let name = HeaderName::try_from(name).ok()?;
        let values = match value {
            Value::Array(values) => values,
            single @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                vec![single]
            }
        };
        if NOT_TAKEN.contains(&name) {
            continue;
        }
        headers.remove(&name);
        for value in values {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            headers.append(&name, HeaderValue::try_from(value).ok()?);
        }
    }
    for cookie in answer.cookies.into_iter().flatten() {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    if !body.is_empty() {
        let plain = HeaderValue::from_static("text/plain;charset=UTF-8");
        headers.entry(header::CONTENT_TYPE).or_insert(plain);
    }
    *response.body_mut() = Body::from(body);
    Some(response)
}

/// Returns an answer of the gateway itself: `{"message": …}`.
pub(super) fn message(status: StatusCode, message: &str) -> Response {
    let body = json!({ "message": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn map(payload: &Value) -> Option<Response> {
        response(&Bytes::from(payload.to_string()))
    }

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn answer_becomes_the_response() {
        let response = map(&json!({
            "statusCode": 201,
            "headers": {"Location": "/x", "content-length": "99", "content-type": "application/problem+json"},
            "multiValueHeaders": {"location": ["/old"], "vary": ["a", "b"]},
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "{}",
        }))
        .unwrap();
        assert_eq!(response.status(), 201);
        let values = |name: &str| -> Vec<&str> {
            response
                .headers()
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect()
        };
        assert_eq!(values("location"), ["/x"]);
        assert_eq!(values("vary"), ["a", "b"]);
        assert_eq!(values("set-cookie"), ["a=1; Path=/", "b=2"]);
        assert_eq!(values("content-type"), ["application/problem+json"]);
        assert!(values("content-length").is_empty());
        assert_eq!(body(response).await, "{}");
    }

    #[tokio::test]
    async fn base64_or_bare_payload_is_the_body() {
        let response = map(&json!({"statusCode": 200, "body": "/wA=", "isBase64Encoded": true})).unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain;charset=UTF-8");
        assert_eq!(&body(response).await[..], b"\xff\0");
        let response = map(&json!({"hello": 1})).unwrap();
        assert_eq!(
            (response.status(), response.headers()["content-type"].as_bytes()),
            (StatusCode::OK, &b"application/json"[..])
        );
        assert_eq!(body(response).await, r#"{"hello":1}"#);
    }

    #[test]
    fn malformed_answer_is_refused() {
        assert!(response(&Bytes::from_static(b"not json")).is_none());
        for bad in [
            json!({"statusCode": "200"}),
            json!({"statusCode": 99}),
            json!({"statusCode": 200, "body": {"not": "text"}}),
            json!({"statusCode": 200, "body": "?", "isBase64Encoded": true}),
            json!({"statusCode": 200, "headers": {"x": "line\nbreak"}}),
        ] {
            assert!(map(&bad).is_none(), "{bad}");
        }
    }
}
