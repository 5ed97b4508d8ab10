//! Tokens of an identity provider: RS256, verified with the keys that the issuer publishes, by the rules of API
//! Gateway's JWT authorizer.
//!
//! Invariants: an answer of the issuer is bounded in time and size, and is asked for at most once per token. Depends
//! on: OpenID discovery, and the jsonwebtoken crate for every check of a token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::body::{Body, Bytes};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_rustls::rustls::crypto::ring;

use super::token::Claims;

/// The limit for both requests to the issuer together.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer of the issuer, in bytes.
const LARGEST_ANSWER: usize = 1024 * 1024;
/// How long keys are used before they are fetched again: a key that the issuer has withdrawn is refused after this.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// An identity provider.
pub struct Issuer {
    url: String,
    named: String,
    audiences: Vec<String>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    keys: Mutex<Keys>,
}

/// The published keys, by their id.
struct Keys {
    by_id: BTreeMap<String, DecodingKey>,
    fetched: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuer {
    /// Fetches the keys of the issuer whose tokens have `url` as their `iss`. A token must be for one of `audiences` by
    /// its `aud`, or without an `aud` by its `client_id`; without any, both are ignored.
    ///
    /// # Errors
    /// Fails with one line that names the issuer if its keys cannot be fetched.
    pub async fn connect(url: &str, audiences: &[String]) -> anyhow::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        let (named, keys) = fetch(&client, url).await?;
        Ok(Self {
            url: url.to_owned(),
            named,
            audiences: audiences.to_vec(),
            client,
            keys: Mutex::new(keys),
        })
    }

    /// Returns the issuer that the discovery document is of. Its tokens have it as their `iss`.
    pub fn named(&self) -> &str {
        &self.named
    }

    /// Returns the claims of a token, if this issuer signed it and it is valid now.
    ///
    /// # Errors
    /// Fails with a short reason that contains nothing of the token.
    pub async fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|error| error.to_string())?;
        if header.alg != Algorithm::RS256 {
            return Err("the token is not signed with RS256".to_owned());
        }
        let id = header.kid.ok_or("the token does not name its key")?;
        let key = self.key(&id).await?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[&self.url]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.validate_nbf = true;
        // Checked below, because a client_id may take its place.
        validation.validate_aud = false;
        validation.leeway = 0;
        // The crate accepts a token in the very second of its expiry; RFC 7519 does not.
        validation.reject_tokens_expiring_in_less_than = 1;
        let token = decode::<Claims>(token, &key, &validation).map_err(|error| error.to_string())?;
        let issued = token.claims.get("iat").and_then(Value::as_f64);
        if issued.is_some_and(|issued| issued > chrono::Utc::now().timestamp() as f64) {
            return Err("the token was issued in the future".to_owned());
        }
        if !self.is_for_audience(&token.claims) {
            return Err("the token is for another audience".to_owned());
        }
        Ok(token.claims)
    }

    fn is_for_audience(&self, claims: &Claims) -> bool {
        let known = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| self.audiences.iter().any(|audience| audience == text))
        };
        if self.audiences.is_empty() {
            return true;
        }
        match (claims.get("aud"), claims.get("client_id")) {
            (Some(Value::Array(audiences)), _) => audiences.iter().any(known),
            (Some(audience), _) => known(audience),
            (None, client) => client.is_some_and(known),
        }
    }

    /// Returns a key. One that is not known may be new, so the keys are fetched once more.
    async fn key(&self, id: &str) -> Result<DecodingKey, String> {
        // Held while fetching, so that tokens that arrive together wait for one answer.
        let mut keys = self.keys.lock().await;
        if keys.fetched.elapsed() > MAX_AGE || !keys.by_id.contains_key(id) {
            (_, *keys) = fetch(&self.client, &self.url)
                .await
                .map_err(|error| format!("the issuer's keys are not available: {error:#}"))?;
        }
        let key = keys.by_id.get(id).cloned();
        key.ok_or_else(|| "the issuer has no such key".to_owned())
    }
}

type Https = Client<HttpsConnector<HttpConnector>, Body>;

async fn fetch(client: &Https, issuer: &str) -> anyhow::Result<(String, Keys)> {
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let fetched = async {
        let Discovery { issuer, jwks_uri } = get(client, &discovery).await?;
        anyhow::Ok((issuer, get::<KeySet>(client, &jwks_uri).await?))
    };
    let (named, KeySet { keys }) = tokio::time::timeout(FETCH_TIMEOUT, fetched)
        .await
        .with_context(|| format!("{issuer} did not answer within {} s", FETCH_TIMEOUT.as_secs()))??;
    // Keys of other kinds, for example for encryption, are none of ours.
    let by_id = keys.into_iter().filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let decoding = DecodingKey::from_jwk(&key).ok()?;
        Some((key.common.key_id?, decoding))
    });
    let by_id: BTreeMap<_, _> = by_id.collect();
    ensure!(!by_id.is_empty(), "{issuer} publishes no key");
    let fetched = Instant::now();
    Ok((named, Keys { by_id, fetched }))
}

async fn get<T: for<'de> Deserialize<'de>>(client: &Https, url: &str) -> anyhow::Result<T> {
    let request = Request::get(url).body(Body::empty());
    let request = request.with_context(|| format!("{url} is not a URL"))?;
    let response = client.request(request).await;
    let response = response.with_context(|| format!("cannot reach {url}"))?;
    if response.status() != StatusCode::OK {
        bail!("{url} answered {}", response.status());
    }
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let body: Bytes = body
        .map_err(|error| anyhow::anyhow!("cannot read the answer of {url}: {error}"))?
        .to_bytes();
    serde_json::from_slice(&body).with_context(|| format!("{url} answered with other JSON than expected"))
}
