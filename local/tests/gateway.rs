//! The gateway over real sockets, with a real function (`examples/echo.rs`) behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use local::gateway::{Answered, Authorizer, DevelopmentKey, Gateway, Origins, Route, Routes, Settings};
use local::lambda::{Function, Lambda, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Served {
    gateway: Gateway,
    lambda: Arc<Lambda>,
    token: String,
    expired: String,
    _folder: tempfile::TempDir,
}

/// Serves `private`, which requires a token and returns the requested answer, and `public`, which requires none and is
/// always busy.
async fn serve() -> Served {
    serve_with([], |key| Some(Authorizer::Development(key))).await
}

/// As [`serve`], for pages of these origins.
async fn serve_pages<const N: usize>(origins: [&str; N]) -> Served {
    serve_with(origins, |key| Some(Authorizer::Development(key))).await
}

async fn serve_with<const N: usize>(
    origins: [&str; N],
    authorizer: impl FnOnce(DevelopmentKey) -> Option<Authorizer>,
) -> Served {
    let tests = std::env::current_exe().unwrap();
    let binary: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples/echo");
    assert!(
        binary.exists(),
        "cargo test builds it, with --test only: cargo build -p local --example echo"
    );
    let private = Function {
        timeout: Duration::from_secs(1),
        ..Function::new("private", &binary)
    };
    let public = Function {
        reserved_concurrency: Some(0),
        ..Function::new("public", &binary)
    };
    let lambda = Arc::new(Lambda::start([private, public], Options::default()).unwrap());
    let route = |method: &str, path: &str, function: &str| Route {
        method: Some(method.to_owned()),
        path: path.to_owned(),
        function: function.to_owned(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = DevelopmentKey::load_or_create(&path).unwrap();
    let token = key
        .sign("user_1", "ann@example.com", "Ann", Duration::from_secs(3600))
        .unwrap();
    let expired = key.sign("user_1", "ann@example.com", "Ann", Duration::ZERO).unwrap();
    let settings = Settings {
        routes: Routes::new([
            route("POST", "/private/{id}", "private"),
            route("GET", "/public", "public"),
        ]),
        public: BTreeSet::from(["public".to_owned()]),
        authorizer: authorizer(key),
        origins: Origins::new(&origins.map(str::to_owned)).unwrap(),
        lambda: Arc::clone(&lambda),
        pages: Router::new().route("/page", get("a page")),
        answered: Some(Arc::new(answered)),
    };
    let gateway = Gateway::start(ANYWHERE, settings).await.unwrap();
    Served {
        gateway,
        lambda,
        token,
        expired,
        _folder: folder,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn send(address: SocketAddr, request_line: &str, headers: &str, body: &[u8]) -> Answer {
    send_to(&address.to_string(), address, request_line, headers, body).await
}

/// As [`send`], for another host.
async fn send_to(host: &str, address: SocketAddr, request_line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request_line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A gateway that rejects a body closes the connection before it has read it all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer))
        .await
        .expect("it hangs");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("no answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

impl Served {
    async fn post(&self, event: &Value) -> Answer {
        let headers = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.token
        );
        send(
            self.gateway.address(),
            "POST /private/a%20b?x=1",
            &headers,
            event.to_string().as_bytes(),
        )
        .await
    }
}

#[tokio::test]
async fn request_carries_verified_claims() {
    let served = serve().await;
    let answer = served.post(&json!({"any": "thing"})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("apigw-requestid: "));
    // The function echoes its event, which has no statusCode: the payload is the body.
    let event = &serde_json::from_str::<Value>(&answer.body).unwrap()["event"];
    assert_eq!(event["routeKey"], "POST /private/{id}");
    assert_eq!(event["pathParameters"]["id"], "a b");
    assert_eq!(event["body"], r#"{"any":"thing"}"#);
    assert_eq!(event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"], "user_1");
    assert_eq!(
        event["requestContext"]["authorizer"]["jwt"]["claims"]["email_verified"],
        "true"
    );
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
}

/// The answers of this process's gateways.
static ANSWERED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn answered(answer: &Answered<'_>) {
    let Answered {
        method,
        path,
        status,
        reason,
        ..
    } = answer;
    let reason = reason.unwrap_or("no reason");
    ANSWERED
        .lock()
        .unwrap()
        .push(format!("{method} {status} {path} {reason}"));
}

#[tokio::test]
async fn every_answer_is_reported_with_its_reason() {
    let served = serve().await;
    let address = served.gateway.address();
    send(address, "GET /told-of-nowhere?secret=1", "", b"").await;
    send(address, "POST /private/told-of", "", b"{}").await;
    let expired = format!("Authorization: Bearer {}\r\n", served.expired);
    send(address, "POST /private/told-late", &expired, b"{}").await;
    assert_eq!(served.post(&json!({})).await.status, 200);
    let problem = json!({"detail": "teamMemberId: is required", "message": "no"}).to_string();
    let refusal = json!({"respond": {"statusCode": 422, "body": problem}});
    let answer = served.post(&refusal).await;
    assert_eq!((answer.status, answer.body), (422, problem));
    let told = ANSWERED.lock().unwrap().clone();
    for expected in [
        "GET 404 /told-of-nowhere Not Found",
        "POST 401 /private/told-of no token",
        "POST 200 /private/a%20b no reason",
        "POST 422 /private/a%20b teamMemberId: is required",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
    let late = told.iter().find(|one| one.contains("/private/told-late")).unwrap();
    assert!(late.ends_with(" token: ExpiredSignature"), "{late}");
}

#[tokio::test]
async fn invalid_token_invokes_nothing() {
    let served = serve().await;
    let address = served.gateway.address();
    let tampered = format!("{}x", served.token);
    for (headers, challenge) in [
        (String::new(), "www-authenticate: bearer\r\n"),
        ("Authorization: Bearer \r\n".to_owned(), "www-authenticate: bearer\r\n"),
        (
            format!("Authorization: Bearer {}\r\n", served.expired),
            "error=\"invalid_token\"",
        ),
        (
            format!("Authorization: Bearer {tampered}\r\n"),
            "error=\"invalid_token\"",
        ),
        (
            format!("Authorization: Basic {}\r\n", served.token),
            "error=\"invalid_token\"",
        ),
    ] {
        let answer = send(address, "POST /private/1", &headers, b"{}").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, r#"{"message":"Unauthorized"}"#),
            "{headers}"
        );
        assert!(format!("{}\r\n", answer.head).contains(challenge), "{}", answer.head);
    }
    assert!(served.lambda.environments("private").is_empty());
}

#[tokio::test]
async fn gateway_answers_unrouted_requests() {
    let served = serve().await;
    let address = served.gateway.address();
    for line in ["GET /nowhere", "GET /private/1", "POST /private/", "DELETE /public"] {
        let answer = send(address, line, "", b"").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, r#"{"message":"Not Found"}"#),
            "{line}"
        );
    }
    let throttled = send(address, "GET /public", "", b"").await;
    assert_eq!(
        (throttled.status, throttled.body.as_str()),
        (503, r#"{"message":"Service Unavailable"}"#)
    );
    let authorization = format!("Authorization: {}\r\n", served.token);
    let large = send(
        address,
        "POST /private/1",
        &authorization,
        &vec![b'x'; 10 * 1024 * 1024 + 1],
    )
    .await;
    assert_eq!(
        (large.status, large.body.as_str()),
        (413, r#"{"message":"Request Entity Too Large"}"#)
    );
    assert!(served.lambda.environments("private").is_empty());
}

#[tokio::test]
async fn answer_is_mapped_and_failure_hidden() {
    let served = serve().await;
    let answer = json!({"statusCode": 201, "headers": {"location": "/x"}, "cookies": ["a=1"], "body": "made"});
    let answer = served.post(&json!({ "respond": answer })).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "made"));
    assert!(
        answer.head.contains("location: /x") && answer.head.contains("set-cookie: a=1"),
        "{}",
        answer.head
    );
    for failure in [
        json!({"fail": "secret reason"}),
        json!({"exit": 1}),
        json!({"sleep_ms": 60_000}),
        json!({"respond": {"statusCode": "200"}}),
    ] {
        let answer = served.post(&failure).await;
        assert_eq!(answer.status, 500, "{failure}");
        assert_eq!(answer.body, r#"{"message":"Internal Server Error"}"#, "{failure}");
    }
    let large = served.post(&json!("x".repeat(7 * 1024 * 1024))).await;
    assert_eq!(large.status, 413);
    assert_eq!(served.post(&json!({"respond": {"statusCode": 204}})).await.status, 204);
}

/// As API Gateway does with an issuer that it cannot reach.
#[tokio::test]
async fn dropped_authorizer_costs_its_routes() {
    let served = serve_with([], |_| None).await;
    let address = served.gateway.address();
    let authorization = format!("Authorization: {}\r\n", served.token);
    let answer = send(address, "POST /private/1", &authorization, b"{}").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, r#"{"message":"Not Found"}"#)
    );
    assert!(served.lambda.environments("private").is_empty());
    // Its function is busy, which shows that the route is there.
    assert_eq!(send(address, "GET /public", "", b"").await.status, 503);
}

#[tokio::test]
async fn only_names_of_this_machine_are_served() {
    let served = serve().await;
    let address = served.gateway.address();
    for (host, status) in [
        ("localhost:3001", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:3001", 200),
        ("attacker.example", 403),
        ("localhost.attacker.example:3001", 403),
        ("10.0.0.1", 403),
        ("a b", 400),
    ] {
        let page = send_to(host, address, "GET /page", "", b"").await;
        assert_eq!(page.status, status, "{host}: {}", page.body);
        // The function is busy.
        let route = send_to(host, address, "GET /public", "", b"").await;
        assert_eq!(
            route.status,
            if status == 200 { 503 } else { status },
            "{host}: {}",
            route.body
        );
    }
}

#[tokio::test]
async fn gateway_stops_and_names_taken_port() {
    let served = serve().await;
    let address = served.gateway.address();
    let again = Settings {
        routes: Routes::new([]),
        public: BTreeSet::new(),
        authorizer: None,
        origins: Origins::default(),
        lambda: Arc::clone(&served.lambda),
        pages: Default::default(),
        answered: None,
    };
    let error = Gateway::start(address, again).await.err().unwrap().to_string();
    assert_eq!(error, format!("port {} on 127.0.0.1 is already in use", address.port()));
    served.gateway.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn pages_of_listed_origins_may_call() {
    let served = serve_pages(["http://localhost:5173"]).await;
    let address = served.gateway.address();
    let origin = |origin: &str| format!("Origin: {origin}\r\n");
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";

    // No token, and any path: the browser asks before it sends either.
    for path in ["/private/1", "/nowhere"] {
        let headers = origin("http://localhost:5173") + asks;
        let answer = send(address, &format!("OPTIONS {path}"), &headers, b"").await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{path}");
        for header in [
            "access-control-allow-origin: http://localhost:5173",
            "access-control-allow-credentials: true",
            "access-control-allow-methods: get,post,put,patch,delete",
            "access-control-allow-headers: authorization,content-type,idempotency-key,if-match",
        ] {
            assert!(answer.head.contains(header), "{header} is not in {}", answer.head);
        }
    }
    // Every answer, of the function and of the gateway.
    let token = format!("Authorization: Bearer {}\r\n", served.token);
    let says = json!({"respond": {"statusCode": 200, "headers": {"access-control-allow-origin": "*"}}}).to_string();
    for (headers, status) in [(token.clone(), 200), (String::new(), 401)] {
        let headers = headers + &origin("http://localhost:5173") + "Content-Type: application/json\r\n";
        let answer = send(address, "POST /private/1", &headers, says.as_bytes()).await;
        assert_eq!(answer.status, status);
        assert!(
            answer
                .head
                .contains("access-control-allow-origin: http://localhost:5173\r\n")
        );
        assert!(answer.head.contains("access-control-allow-credentials: true"));
        assert!(answer.head.contains("access-control-expose-headers: etag,link,"));
        assert!(!answer.head.contains("origin: *"), "{}", answer.head);
    }
    // Other origins, also those that only begin or end alike, and no origin.
    for other in [
        "http://localhost:51730",
        "http://localhost:517",
        "https://localhost:5173",
        "null",
        "*",
    ] {
        let answer = send(address, "OPTIONS /private/1", &(origin(other) + asks), b"").await;
        assert!(
            answer.status == 204 && !answer.head.contains("access-control"),
            "{other}"
        );
        let headers = token.clone() + &origin(other) + "Content-Type: application/json\r\n";
        let answer = send(address, "POST /private/1", &headers, says.as_bytes()).await;
        assert!(
            answer.status == 200 && !answer.head.contains("access-control"),
            "{other}"
        );
    }
}

#[tokio::test]
async fn no_origin_is_no_cors() {
    let served = serve().await;
    let headers = "Origin: http://localhost:5173\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = send(served.gateway.address(), "OPTIONS /private/1", headers, b"").await;
    assert_eq!(answer.status, 404);
    assert!(!answer.head.contains("access-control"));
}
