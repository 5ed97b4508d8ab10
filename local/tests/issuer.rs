//! Tokens of an identity provider, which is a server of this process that publishes its keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use local::gateway::Issuer;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Keys of these tests alone.
const FIRST: &[u8] = include_bytes!("keys/first.der");
const SECOND: &[u8] = include_bytes!("keys/second.der");

/// What the provider publishes, and how often it was asked.
#[derive(Default)]
struct Published {
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
}

struct Provider {
    url: String,
    published: Arc<Published>,
}

fn published(id: &str, key: &[u8]) -> Value {
    let key = EncodingKey::from_rsa_der(key);
    let mut key = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
    key["kid"] = json!(id);
    key
}

impl Provider {
    async fn start() -> Self {
        let published = Arc::new(Published::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
        let keys = async |State(published): State<Arc<Published>>| {
            published.asked.fetch_add(1, Ordering::SeqCst);
            let keys = published.keys.lock().unwrap().clone();
            json!({ "keys": keys }).to_string()
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async || discovery))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&published));
        tokio::spawn(async { axum::serve(listener, router).await });
        let provider = Self { url, published };
        provider.publish(vec![published_first()]);
        provider
    }

    fn publish(&self, keys: Vec<Value>) {
        *self.published.keys.lock().unwrap() = keys;
    }

    fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }

    /// The claims of a session token.
    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "sub": "user_1", "aud": "seer", "exp": 4_000_000_000_u64, "iat": 1_700_000_000, "email": "a@b.c",
        })
    }

    fn token(&self, claims: &Value) -> String {
        sign("first", FIRST, claims)
    }
}

fn published_first() -> Value {
    published("first", FIRST)
}

fn sign(id: &str, key: &[u8], claims: &Value) -> String {
    let header = Header {
        kid: Some(id.to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    encode(&header, claims, &EncodingKey::from_rsa_der(key)).unwrap()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn published_key_verifies() {
    let provider = Provider::start().await;
    // A provider publishes other keys too.
    provider.publish(vec![json!({"kty": "new"}), json!(7), published_first()]);
    let issuer = Issuer::connect(&provider.url, &["seer".to_owned()]).await.unwrap();
    for _ in 0..3 {
        let claims = issuer.verify(&provider.token(&provider.claims())).await.unwrap();
        assert_eq!((&claims["sub"], &claims["email"]), (&json!("user_1"), &json!("a@b.c")));
    }
    assert_eq!(provider.asked(), 1, "the keys are cached");
}

#[tokio::test]
async fn audience_is_aud_or_client_id() {
    let provider = Provider::start().await;
    let audiences = ["seer".to_owned(), "other".to_owned()];
    let issuer = Issuer::connect(&provider.url, &audiences).await.unwrap();
    let any = Issuer::connect(&provider.url, &[]).await.unwrap();
    let bare = without(provider.claims(), "aud");
    let client = with(bare.clone(), "client_id", json!("seer"));
    for (claims, accepted) in [
        (provider.claims(), true),
        (with(bare.clone(), "aud", json!(["x", "other"])), true),
        (client.clone(), true),
        (bare.clone(), false),
        (with(client, "aud", json!("x")), false),
        (with(bare.clone(), "aud", json!([])), false),
        (with(bare.clone(), "aud", json!(null)), false),
        (with(bare, "client_id", json!("x")), false),
    ] {
        let token = provider.token(&claims);
        assert_eq!(issuer.verify(&token).await.is_ok(), accepted, "{claims}");
        assert!(any.verify(&token).await.is_ok(), "{claims}");
    }
}

#[tokio::test]
async fn other_tokens_are_refused() {
    let provider = Provider::start().await;
    let issuer = Issuer::connect(&provider.url, &[]).await.unwrap();
    let good = provider.claims();
    let header = Header {
        kid: Some("first".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let shared = encode(&header, &good, &EncodingKey::from_secret(FIRST)).unwrap();
    let nameless = Header::new(Algorithm::RS256);
    let nameless = encode(&nameless, &good, &EncodingKey::from_rsa_der(FIRST)).unwrap();
    for (why, token) in [
        (
            "another issuer",
            provider.token(&with(good.clone(), "iss", json!("https://elsewhere"))),
        ),
        (
            "a prefix of the issuer",
            provider.token(&with(good.clone(), "iss", json!(provider.url[..12]))),
        ),
        ("no issuer", provider.token(&without(good.clone(), "iss"))),
        (
            "expired",
            provider.token(&with(good.clone(), "exp", json!(1_000_000_000))),
        ),
        ("no expiry", provider.token(&without(good.clone(), "exp"))),
        (
            "not yet valid",
            provider.token(&with(good.clone(), "nbf", json!(3_999_999_999_u64))),
        ),
        (
            "issued in the future",
            provider.token(&with(good.clone(), "iat", json!(3_999_999_999_u64))),
        ),
        ("another key", sign("first", SECOND, &good)),
        ("an unknown key", sign("third", FIRST, &good)),
        ("no key", nameless),
        ("a shared secret", shared),
        ("no token", "abc".to_owned()),
        ("nothing", String::new()),
    ] {
        assert!(issuer.verify(&token).await.is_err(), "accepted: {why}");
    }
}

#[tokio::test]
async fn rotated_key_is_fetched_once() {
    let provider = Provider::start().await;
    let issuer = Issuer::connect(&provider.url, &[]).await.unwrap();
    provider.publish(vec![published("second", SECOND)]);
    // What is known stays valid until the keys are fetched again.
    assert!(issuer.verify(&provider.token(&provider.claims())).await.is_ok());
    let rotated = sign("second", SECOND, &provider.claims());
    for _ in 0..3 {
        assert!(issuer.verify(&rotated).await.is_ok());
    }
    assert_eq!(provider.asked(), 2);
    assert!(issuer.verify(&provider.token(&provider.claims())).await.is_err());
}

#[tokio::test]
async fn issuer_without_keys_is_named() {
    let provider = Provider::start().await;
    for url in [format!("{}/nowhere", provider.url), "not a url".to_owned()] {
        let error = Issuer::connect(&url, &[]).await.err().unwrap().to_string();
        assert!(error.contains(&url), "{error}");
    }
    provider.publish(Vec::new());
    let error = Issuer::connect(&provider.url, &[]).await.err().unwrap().to_string();
    assert!(error.contains("no key"), "{error}");
}

#[tokio::test]
async fn silent_issuer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let _connection = listener.accept().await;
        pending::<()>().await
    });
    let error = Issuer::connect(&url, &[]).await.err().unwrap().to_string();
    assert!(error.contains("did not answer"), "{error}");
}
