//! Bodies that are invalid as a whole: a 4xx problem that names the error, and nothing written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::backend::Backend;
use super::call::Call;
use super::people::{Person, Team, id, meeting, with};

/// 1 MiB, the largest body that is read.
pub const MIB: usize = 1024 * 1024;

/// A backend with one resource of each kind, and the routes that take a body.
pub struct Bodies {
    pub backend: Backend,
    pub team: Team,
    pub routes: Vec<Route>,
}

/// A route that takes a body, and the smallest valid body.
pub struct Route {
    pub method: &'static str,
    pub path: String,
    pub body: Value,
    /// The fields that hold text, with the longest each takes.
    pub texts: &'static [(&'static str, usize)],
}

impl Bodies {
    pub async fn start() -> Self {
        let backend = Backend::start().await;
        let team = backend.team("one").await;
        let made = id(&backend.meeting(&team, json!({})).await);
        let task = id(&backend.task(&team.admin, made, json!({})).await);
        let meeting_texts: &[_] = &[
            ("title", 200),
            ("meetingBaasId", 200),
            ("calendarEventId", 200),
            ("agenda", 20_000),
            ("executiveSummary", 20_000),
            ("transcript", 1_000_000),
        ];
        let task_texts: &[_] = &[("text", 5_000), ("reasoning", 5_000), ("relatedAreaForSupport", 5_000)];
        let area = id(&backend.key_area(&team, "Old").await);
        let areas = format!("/api/users/{}/key-areas", team.member.id);
        let texts = json!({"name": "New", "description": "New"});
        let area_texts: &[_] = &[("name", 200), ("description", 2_000)];
        let route = |method, path: String, body, texts| Route {
            method,
            path,
            body,
            texts,
        };
        let routes = vec![
            route(
                "POST",
                "/api/users/invite".to_owned(),
                json!({"email": "x@example.com"}),
                &[],
            ),
            route(
                "POST",
                "/api/meetings".to_owned(),
                meeting(team.member.id, json!({})),
                meeting_texts,
            ),
            route(
                "PUT",
                format!("/api/meetings/{made}"),
                json!({"title": "New"}),
                meeting_texts,
            ),
            route(
                "POST",
                format!("/api/meetings/{made}/tasks"),
                json!({"text": "New"}),
                task_texts,
            ),
            route(
                "PATCH",
                format!("/api/meetings/{made}/tasks/{task}"),
                json!({"text": "New"}),
                task_texts,
            ),
            route("POST", areas.clone(), texts.clone(), area_texts),
            route("PUT", format!("{areas}/{area}"), texts, area_texts),
            route(
                "POST",
                "/api/users/invite/accept".to_owned(),
                json!({"token": "x"}),
                &[],
            ),
        ];
        Self { backend, team, routes }
    }

    /// Returns a request to one of the routes by a caller with permission.
    pub fn to(&self, route: &Route) -> Call<'_> {
        self.backend.call(route.method, &route.path).by(&self.team.admin)
    }
}

#[tokio::test]
async fn non_json_is_malformed() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let deep = "[".repeat(100_000);
    for route in &all.routes {
        let good = route.body.to_string();
        for body in [
            "",
            " ",
            "{",
            "}",
            "nul",
            "{'title': 1}",
            "{\"title\": }",
            "{\"title\" \"x\"}",
            "<title/>",
            "title=x",
            "\u{feff}{}",
            "{\"title\": \"a\nb\"}",
            "{\"title\": \"\\x\"}",
            "{\"title\": \"\\u12\"}",
            &deep,
            &format!("{good}{good}"),
            &format!("{good},"),
            &good[..good.len() - 1],
        ] {
            all.to(route)
                .body("application/json", body)
                .send()
                .await
                .problem(400, "malformed");
        }
        all.to(route)
            .body("application/json", b"\xff\xfe{}".to_vec())
            .send()
            .await
            .problem(400, "malformed");
        all.to(route)
            .body("application/json", b"{\"title\": \"\xc3\x28\"}".to_vec())
            .send()
            .await
            .problem(400, "malformed");
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn non_object_body_is_named_whole() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for body in [json!(null), json!(true), json!(1), json!("text"), json!([route.body])] {
            all.to(route).json(&body).send().await.names("body");
        }
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn other_media_type_is_refused() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for media_type in [
            "text/plain",
            "application/xml",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "",
        ] {
            let call = all.to(route).body(media_type, route.body.to_string());
            call.send().await.problem(415, "unsupported-media-type");
        }
    }
    assert_eq!(all.backend.stored().await, before);
    for media_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/merge-patch+json",
    ] {
        let changed = all
            .to(&all.routes[2])
            .body(media_type, json!({"title": media_type}).to_string());
        changed.send().await.is(200);
    }
}

#[tokio::test]
async fn compressed_body_is_refused() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for coding in ["gzip", "GZIP", "br", "deflate", "identity, gzip"] {
            let call = all.to(route).header("content-encoding", coding);
            let bytes = b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec();
            let answer = call.body("application/json", bytes).send().await;
            let answer = answer.problem(415, "unsupported-media-type");
            assert!(answer.body.contains("Content-Encoding"), "{}", answer.body);
            assert_eq!(answer.header("accept-encoding"), Some("identity"));
        }
    }
    assert_eq!(all.backend.stored().await, before);
    for coding in ["identity", ""] {
        let call = all.to(&all.routes[2]).header("content-encoding", coding);
        call.json(&all.routes[2].body).send().await.is(200);
    }
}

#[tokio::test]
async fn body_over_one_mebibyte_is_refused() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for size in [MIB + 1, 2 * MIB] {
            let body = format!("{}{}", " ".repeat(size - 2), "{}");
            let text = all.to(route).body("application/json", body.clone());
            text.send().await.problem(413, "too-large");
            // API Gateway sends bodies that are not text as base64; its limit applies to the body and not to the event.
            let (function, mut event) = all.to(route).json(&json!({})).event();
            event["body"] = json!(STANDARD.encode(&body));
            event["isBase64Encoded"] = json!(true);
            all.backend
                .send(&function, event, false)
                .await
                .problem(413, "too-large");
        }
    }
    assert_eq!(all.backend.stored().await, before);
    let route = &all.routes[2];
    let good = route.body.to_string();
    let full = format!("{}{good}", " ".repeat(MIB - good.len()));
    all.to(route)
        .body("application/json", full.clone())
        .send()
        .await
        .is(200);
    let (function, mut event) = all.to(route).json(&json!({})).event();
    event["body"] = json!(STANDARD.encode(&full));
    event["isBase64Encoded"] = json!(true);
    all.backend.send(&function, event.clone(), false).await.is(200);
    event["body"] = json!("not base64!");
    all.backend
        .send(&function, event, false)
        .await
        .problem(400, "malformed");
}

#[tokio::test]
async fn unknown_fields_are_named() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for field in [
            "nonsense",
            "__proto__",
            "id",
            "Title",
            "team_member_id",
            "role",
            "adminId",
            "teamId",
            "",
        ] {
            let answer = all
                .to(route)
                .json(&with(route.body.clone(), json!({field: "x"})))
                .send()
                .await;
            let named = answer.problem(422, "invalid").json()["errors"][0]["field"].clone();
            assert_eq!(named, field, "{}", route.path);
        }
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn repeated_field_is_refused() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        let good = route.body.to_string();
        let twice = format!("{},{}", &good[..good.len() - 1], &good[1..]);
        all.to(route)
            .body("application/json", twice)
            .send()
            .await
            .problem(422, "invalid");
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn missing_fields_are_named() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in all.routes.iter().filter(|route| route.method == "POST") {
        for field in route.body.as_object().unwrap().keys() {
            let mut body = route.body.clone();
            body.as_object_mut().unwrap().remove(field);
            all.to(route).json(&body).send().await.names(field);
        }
    }
    assert_eq!(all.backend.stored().await, before);
}

/// A page sends the person's address and name; the token decides.
#[tokio::test]
async fn registration_ignores_the_body() {
    let backend = Backend::start().await;
    let ada = Person::stranger("ada");
    let send = |body: &str| {
        backend
            .post("/api/users/register")
            .by(&ada)
            .body("application/json", body)
            .send()
    };
    send("{\"role\": \"admin\"}").await.names("role");
    send("{\"adminId\": null}").await.names("adminId");
    send("{\"email\": \"ada@example.com\", \"clerkId\": \"user_eve\"}")
        .await
        .names("clerkId");
    send("{\"email\": 7}").await.names("email");
    send("[1]").await.problem(422, "invalid");
    send("7").await.names("body");
    send("{").await.problem(400, "malformed");
    let text = backend.post("/api/users/register").by(&ada).body("text/plain", "hello");
    text.send().await.problem(415, "unsupported-media-type");
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 0);

    let other = "{\"email\": \"eve@example.com\", \"name\": \"Eve\"}";
    let user = send(other).await.is(201).json();
    assert_eq!(
        (&user["email"], &user["name"]),
        (&json!("ada@example.com"), &json!("ada"))
    );
    for body in ["{}", "{\"email\": \"ada@example.com\", \"name\": null}", other] {
        assert_eq!(send(body).await.is(200).json(), user);
    }
    assert_eq!(backend.number("SELECT count(*) FROM users").await, 1);
    assert_eq!(backend.number("SELECT count(*) FROM receipts").await, 1);
}
