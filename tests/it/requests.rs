//! Requests that are invalid before their body is read: no valid caller, another method, a malformed event.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::ROUTES;
use super::bad_input::Bodies;

#[tokio::test]
async fn invalid_subject_is_no_caller() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let email = "x@example.com";
    let long = "x".repeat(256);
    for claims in [
        json!({"email": email}),
        json!({"sub": "", "email": email}),
        json!({"sub": "  ", "email": email}),
        json!({"sub": "a\0b", "email": email}),
        json!({"sub": "a\nb", "email": email}),
        json!({"sub": long, "email": email}),
    ] {
        for (method, path) in [
            ("GET", "/api/users/me"),
            ("POST", "/api/users/register"),
            ("GET", "/api/meetings"),
            ("GET", "/api/meetings/tasks/all"),
        ] {
            let answer = all.backend.call(method, path).claiming(claims.clone()).send().await;
            answer.problem(401, "unauthorized");
        }
        for route in &all.routes {
            let call = all.backend.call(route.method, &route.path).claiming(claims.clone());
            call.json(&route.body).send().await.problem(401, "unauthorized");
        }
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn forged_identity_is_refused() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let forged = format!("{}.{}.", part(json!({"alg": "none"})), part(all.team.admin.claims()));
    let sub = all.team.admin.sub.clone();
    for (name, value) in [
        ("authorization", format!("Bearer {forged}")),
        ("x-user-id", sub.clone()),
        ("x-amzn-oidc-data", forged.clone()),
        ("x-amzn-oidc-identity", sub.clone()),
        ("cookie", format!("__session={forged}; sub={sub}")),
    ] {
        all.backend
            .get("/api/users/me")
            .header(name, &value)
            .send()
            .await
            .problem(401, "unauthorized");
        for route in &all.routes {
            let call = all.backend.call(route.method, &route.path).header(name, &value);
            call.json(&route.body).send().await.problem(401, "unauthorized");
        }
    }
    // Claims anywhere in the event except at the verified token's place.
    let (function, good) = all.backend.get("/api/users/me").by(&all.team.admin).event();
    let claims = good["requestContext"]["authorizer"]["jwt"]["claims"].clone();
    for elsewhere in [
        json!({"claims": claims}),
        json!({"lambda": {"claims": claims, "sub": sub}}),
        json!({"jwt": {"scopes": ["sub"]}}),
        json!({"jwt": {"claims": {}}}),
        json!({"principalId": sub}),
        Value::Null,
    ] {
        let mut event = good.clone();
        event["requestContext"]["authorizer"] = elsewhere;
        event["claims"] = claims.clone();
        event["requestContext"]["identity"] = json!({"user": sub});
        let answer = all.backend.send(&function, event, false).await;
        assert!(matches!(answer.status, 400 | 401), "{} {}", answer.status, answer.body);
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn function_serves_only_its_method() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in ROUTES.iter() {
        let nil = Uuid::nil().to_string();
        let segments = route.path.split('/');
        let segments = segments.map(|segment| if segment.starts_with('{') { &nil } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        let own: &'static str = match route.method.as_deref().unwrap() {
            "GET" => "GET",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            other => panic!("{other} is new here"),
        };
        let (function, event) = all
            .backend
            .call(own, &path)
            .by(&all.team.admin)
            .json(&json!({}))
            .event();
        assert_eq!(function, route.function);
        for other in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if other != own {
                let mut event = event.clone();
                event["requestContext"]["http"]["method"] = json!(other);
                let answer = all
                    .backend
                    .send(&function, event, false)
                    .await
                    .problem(405, "method-not-allowed");
                assert_eq!(answer.header("allow"), Some(own));
            }
        }
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn malformed_event_is_answered_too() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let (function, good) = all.backend.get("/api/users/me").by(&all.team.admin).event();
    let mut broken = Vec::new();
    for (place, value) in [
        ("/headers", json!("none")),
        ("/requestContext/http", json!([])),
        ("/requestContext/http/method", json!(7)),
        ("/requestContext/authorizer/jwt/claims", json!({"sub": {"nested": 1}})),
        ("/isBase64Encoded", json!("maybe")),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(place).unwrap() = value;
        broken.push(event);
    }
    for event in broken {
        let answer = all.backend.send(&function, event.clone(), false).await;
        assert!(
            matches!(answer.status, 400 | 401 | 405),
            "{} for {event}",
            answer.status
        );
    }
    assert_eq!(all.backend.stored().await, before);
    // And the environment still works.
    all.backend.send(&function, good, false).await.is(200);
    assert_eq!(all.backend.environments(&function).len(), 1);
}

/// Bytes that are no UTF-8 cannot come from API Gateway, which encodes them; another sender gets an answer.
#[tokio::test]
async fn event_that_is_no_text_is_answered() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let (function, good) = all.to(&all.routes[2]).json(&json!({"title": "x"})).event();
    let good_bytes = serde_json::to_vec(&good).unwrap();
    let place = |part: &str| {
        let found = good_bytes
            .windows(part.len())
            .position(|bytes| bytes == part.as_bytes());
        found.unwrap() + 1
    };
    // In the body, in a name, in a header, in the path, as an overlong form, as half of a pair, at the very end.
    for (at, bytes) in [
        (place("title"), &b"\xff"[..]),
        (place("requestContext"), b"\xc3\x28"),
        (place("headers"), b"\xc0\xaf"),
        (place("rawPath"), b"\xed\xa0\x80"),
        (good_bytes.len() - 1, b"\x80"),
    ] {
        let mut event = good_bytes.clone();
        event.splice(at..at, bytes.iter().copied());
        all.backend
            .send(&function, event, false)
            .await
            .problem(400, "malformed");
    }
    // JSON that no Rust text can hold.
    let mut event = good.to_string().replace("\\\"x\\\"", "\\\"\\ud800\\\"").into_bytes();
    assert_ne!(event, good_bytes);
    all.backend
        .send(&function, std::mem::take(&mut event), false)
        .await
        .problem(400, "malformed");
    assert_eq!(all.backend.stored().await, before);
    all.backend.send(&function, good, false).await.is(200);
    assert_eq!(all.backend.environments(&function).len(), 1);
}
