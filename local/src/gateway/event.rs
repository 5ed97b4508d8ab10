//! Builds the event for a route's function: API Gateway's payload format 2.0.
//!
//! Invariants: does no I/O. Depends on: the documented format and, where it leaves details open, the observed behaviour
//! of the service: `rawPath` arrives percent-decoded and `rawQueryString` as sent, and a body is text only for
//! `text/*`, JSON, JavaScript and XML; every other body is base64.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, Version, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::routes::Matched;
use super::token::Claims;

const ACCOUNT: &str = "123456789012";
const API: &str = "local";

/// Headers that belong to the connection, or that the event carries elsewhere.
const NOT_PASSED_ON: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::COOKIE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Returns the event for a request on its route. `claims` are those of the verified token, `None` on a public route.
/// Members that API Gateway omits if they are empty are omitted.
pub fn event(matched: &Matched<'_>, request: &Request<Bytes>, claims: Option<&Claims>, source_ip: IpAddr) -> Value {
    let now = chrono::Utc::now();
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let query = request.uri().query().unwrap_or_default();
    let headers = headers(request.headers(), source_ip);
    let domain = headers
        .get("host")
        .map_or("localhost", |host| host.split(':').next().unwrap_or(host));
    let mut context = json!({
        "accountId": ACCOUNT,
        "apiId": API,
        "domainName": domain,
        "domainPrefix": domain.split('.').next().unwrap_or(domain),
        "http": {
            "method": request.method().as_str(),
            "path": path,
            "protocol": if request.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            "sourceIp": source_ip.to_string(),
            "userAgent": headers.get("user-agent").map_or("", String::as_str),
        },
        "requestId": request_id(),
        "routeKey": matched.route.key(),
        "stage": "$default",
        "time": now.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "timeEpoch": now.timestamp_millis(),
    });
    if let Some(claims) = claims {
        context["authorizer"] = json!({ "jwt": { "claims": as_strings(claims), "scopes": null } });
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": matched.route.key(),
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": false,
    });
    let cookies = cookies(request.headers());
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query_parameters(query));
    }
    if !matched.parameters.is_empty() {
        event["pathParameters"] = json!(matched.parameters);
    }
    if !request.body().is_empty() {
        match text(request) {
            Some(text) => event["body"] = json!(text),
            None => {
                event["body"] = json!(STANDARD.encode(request.body()));
                event["isBase64Encoded"] = json!(true);
            }
        }
    }
    event
}

/// Returns an id in API Gateway's format.
fn request_id() -> String {
    let random = uuid::Uuid::new_v4().into_bytes();
    base64::engine::general_purpose::URL_SAFE.encode(random.get(..11).unwrap_or_default())
}

/// Returns the headers with lower-case names, several values joined with commas, and those that the gateway adds.
fn headers(sent: &HeaderMap, source_ip: IpAddr) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::<String, String>::new();
    for name in sent.keys().filter(|name| !NOT_PASSED_ON.contains(name)) {
        let values: Vec<_> = sent
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        headers.insert(name.as_str().to_owned(), values.join(","));
    }
    let root = uuid::Uuid::new_v4().simple().to_string();
    let epoch = chrono::Utc::now().timestamp();
    headers
        .entry("x-amzn-trace-id".to_owned())
        .or_insert_with(|| format!("Root=1-{epoch:08x}-{root:.24}"));
    let forwarded = match headers.get("x-forwarded-for") {
        Some(before) => format!("{before}, {source_ip}"),
        None => source_ip.to_string(),
    };
    headers.insert("x-forwarded-for".to_owned(), forwarded);
    headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    let port = headers
        .get("host")
        .and_then(|host| host.rsplit_once(':'))
        .map_or("80", |(_, port)| port)
        .to_owned();
    headers.insert("x-forwarded-port".to_owned(), port);
    headers
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    lines
        .flat_map(|line| {
            line.split(';')
                .map(|cookie| cookie.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    parameters
}

/// Returns the body as text, if both its content type and its bytes are text.
fn text(request: &Request<Bytes>) -> Option<&str> {
    let content_type = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let textual = kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&kind.as_str());
    // Bytes that are not text would be lost; as base64 the function can see and reject them.
    if textual {
        std::str::from_utf8(request.body()).ok()
    } else {
        None
    }
}

/// Converts every claim to a string, as the JWT authorizer does: `true`, `12`, `[a b]`.
fn as_strings(claims: &Claims) -> Map<String, Value> {
    claims
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(as_string(value))))
        .collect()
}

fn as_string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(as_string).collect::<Vec<_>>().join(" ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::routes::{Route, Routes};
    use super::*;

    fn build(request: http::request::Builder, body: impl Into<Bytes>, claims: Option<Value>) -> Value {
        let routes = Routes::new([Route {
            method: Some("POST".to_owned()),
            path: "/api/meetings/{id}".to_owned(),
            function: "meetings-get".to_owned(),
        }]);
        let request = request.method("POST").body(body.into()).unwrap();
        let matched = routes.find("POST", request.uri().path()).unwrap();
        let claims = claims.map(|claims| claims.as_object().unwrap().clone());
        event(&matched, &request, claims.as_ref(), Ipv4Addr::LOCALHOST.into())
    }

    #[test]
    fn event_is_payload_format_2() {
        let request = Request::builder()
            .uri("http://api.example.com/api/meetings/a%20b?x=1&y=a%2Cb+c&x=2")
            .header("Host", "api.example.com:3001")
            .header("User-Agent", "curl/8")
            .header("X-Two", "one")
            .header("X-Two", "two")
            .header("Cookie", "a=1; b=2")
            .header("Cookie", "c=3")
            .header("Connection", "keep-alive")
            .header("Content-Type", "application/json; charset=utf-8");
        let claims = json!({
            "sub": "user_1", "email_verified": true, "exp": 4_000_000_000_u64, "aud": ["a", "b"],
        });
        let mut event = build(request, r#"{"a":"ä"}"#, Some(claims));

        let context = event["requestContext"].as_object_mut().unwrap();
        assert_eq!(context.remove("requestId").unwrap().as_str().unwrap().len(), 16);
        let time = context.remove("time").unwrap();
        let epoch = context.remove("timeEpoch").unwrap().as_i64().unwrap();
        let parsed = chrono::DateTime::parse_from_str(time.as_str().unwrap(), "%d/%b/%Y:%H:%M:%S %z").unwrap();
        assert_eq!(parsed.timestamp(), epoch / 1000);
        let trace = event["headers"]
            .as_object_mut()
            .unwrap()
            .remove("x-amzn-trace-id")
            .unwrap();
        assert!(
            trace.as_str().unwrap().starts_with("Root=1-") && trace.as_str().unwrap().len() == 40,
            "{trace}"
        );
        assert_eq!(
            event,
            json!({
                "version": "2.0",
                "routeKey": "POST /api/meetings/{id}",
                "rawPath": "/api/meetings/a b",
                "rawQueryString": "x=1&y=a%2Cb+c&x=2",
                "cookies": ["a=1", "b=2", "c=3"],
                "headers": {
                    "content-type": "application/json; charset=utf-8",
                    "host": "api.example.com:3001",
                    "user-agent": "curl/8",
                    "x-forwarded-for": "127.0.0.1",
                    "x-forwarded-port": "3001",
                    "x-forwarded-proto": "http",
                    "x-two": "one,two",
                },
                "queryStringParameters": {"x": "1,2", "y": "a,b c"},
                "pathParameters": {"id": "a b"},
                "requestContext": {
                    "accountId": "123456789012",
                    "apiId": "local",
                    "authorizer": {"jwt": {
                        "claims": {"sub": "user_1", "email_verified": "true", "exp": "4000000000", "aud": "[a b]"},
                        "scopes": null,
                    }},
                    "domainName": "api.example.com",
                    "domainPrefix": "api",
                    "http": {
                        "method": "POST",
                        "path": "/api/meetings/a b",
                        "protocol": "HTTP/1.1",
                        "sourceIp": "127.0.0.1",
                        "userAgent": "curl/8",
                    },
                    "routeKey": "POST /api/meetings/{id}",
                    "stage": "$default",
                },
                "body": r#"{"a":"ä"}"#,
                "isBase64Encoded": false,
            })
        );
    }

    #[test]
    fn empty_members_are_omitted() {
        let event = build(Request::builder().uri("/api/meetings/7"), "", None);
        for absent in ["cookies", "queryStringParameters", "body"] {
            assert!(event.get(absent).is_none(), "{absent}");
        }
        assert!(event["requestContext"].get("authorizer").is_none());
        assert_eq!(event["rawQueryString"], "");
    }

    #[test]
    fn binary_bodies_are_base64() {
        let sent = |content_type: Option<&str>, body: &'static [u8]| {
            let mut request = Request::builder().uri("/api/meetings/7");
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let event = build(request, body, None);
            (
                event["body"].as_str().unwrap().to_owned(),
                event["isBase64Encoded"].as_bool().unwrap(),
            )
        };
        for text in [
            "text/plain",
            "application/json",
            "Application/JSON;charset=utf-8",
            "application/xml",
        ] {
            assert_eq!(sent(Some(text), b"{}"), ("{}".to_owned(), false), "{text}");
        }
        for binary in [
            None,
            Some("application/octet-stream"),
            Some("application/x-www-form-urlencoded"),
        ] {
            assert_eq!(sent(binary, b"{}"), ("e30=".to_owned(), true), "{binary:?}");
        }
        assert_eq!(sent(Some("application/json"), b"\xff"), ("/w==".to_owned(), true));
    }
}
