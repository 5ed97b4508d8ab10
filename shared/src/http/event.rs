//! Reads an event of Lambda.
//!
//! Invariants: every event is read, whatever its bytes are. The runtime would parse it itself, and report one that it
//! cannot read as an error of the function, without asking it; so it gets [`PLACEHOLDER`], and the bytes stay here.

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use serde_json::Value;

/// The event for the runtime.
pub(super) const PLACEHOLDER: &[u8] = b"null";

#[derive(Debug)]
pub(super) enum Incoming {
    /// A request in API Gateway's payload format 2.0.
    Request(Box<ApiGatewayV2httpRequest>),
    /// A request of another form, or no JSON. A client is waiting for an HTTP response.
    Unreadable,
    /// Any other event.
    Scheduled,
}

impl Incoming {
    pub(super) fn read(event: &[u8]) -> Self {
        if let Ok(request) = serde_json::from_slice(event) {
            return Self::Request(request);
        }
        match serde_json::from_slice::<Value>(event) {
            Ok(value) if value.get("requestContext").is_none() => Self::Scheduled,
            Ok(value) => normalized(value).map_or(Self::Unreadable, Self::Request),
            Err(_) => Self::Unreadable,
        }
    }
}

/// Converts a request whose claims or headers are not all text. API Gateway writes every claim as text; other senders
/// of events, for example a test console or another gateway, may not. Scalars become text, null becomes absent.
fn normalized(mut event: Value) -> Option<Box<ApiGatewayV2httpRequest>> {
    for path in ["/requestContext/authorizer/jwt/claims", "/headers"] {
        if let Some(Value::Object(members)) = event.pointer_mut(path) {
            members.retain(|_, value| !value.is_null());
            for value in members.values_mut().filter(|value| !value.is_string()) {
                *value = Value::String(value.to_string());
            }
        }
    }
    event.as_object_mut()?.retain(|_, value| !value.is_null());
    serde_json::from_value(event).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_claims_are_read_as_text() {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "", "isBase64Encoded": null,
            "headers": {"accept": null, "host": "x"},
            "requestContext": {
                "http": {"method": "GET", "path": "/"},
                "authorizer": {"jwt": {"claims": {"sub": "a", "email_verified": true, "iat": 5, "gone": null}}},
            },
        });
        let text = event.to_string();
        let strict = serde_json::from_str::<ApiGatewayV2httpRequest>(&text);
        assert!(strict.is_err(), "needs no change");
        let Incoming::Request(request) = Incoming::read(text.as_bytes()) else {
            panic!("not read as a request");
        };
        let claims = request.request_context.authorizer.unwrap().jwt.unwrap().claims;
        assert_eq!(claims["email_verified"], "true");
        assert_eq!(claims["iat"], "5");
    }

    #[test]
    fn any_bytes_are_read() {
        let scheduled: [&[u8]; 6] = [
            br#"{"source": "aws.scheduler", "detail": {}}"#,
            br#"{"detail": {"requestContext": {}}}"#,
            b"{}",
            b"null",
            b"[]",
            b"7",
        ];
        for event in scheduled {
            assert!(matches!(Incoming::read(event), Incoming::Scheduled), "{event:?}");
        }
        let unreadable: [&[u8]; 7] = [
            b"",
            b"{",
            b"[1,",
            b"{} {}",
            b"{\"source\": \"\xff\"}",
            br#"{"requestContext": false}"#,
            br#"{"requestContext": {"elb": {}}, "httpMethod": "GET"}"#,
        ];
        for event in unreadable {
            assert!(matches!(Incoming::read(event), Incoming::Unreadable), "{event:?}");
        }
    }
}
