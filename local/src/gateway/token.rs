//! Development tokens: JWTs signed and verified with a key of this machine.
//!
//! Invariants: only for a developer's own machine, because any reader of the key file can impersonate every user.
//! Depends on: the jsonwebtoken crate for every check of a token.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Map, Value, json};

/// The issuer (`iss`) of development tokens.
pub const ISSUER: &str = "https://seer.localhost";
/// The audience (`aud`) of development tokens.
pub const AUDIENCE: &str = "seer-local";

/// The claims of a verified token.
pub type Claims = Map<String, Value>;

/// The key that signs and verifies the tokens of this machine. Its value is never shown.
pub struct DevelopmentKey {
    secret: Vec<u8>,
}

impl DevelopmentKey {
    /// Reads the key from a file, or creates a random one that only the user can read. Concurrent processes end up with
    /// the same key.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written, or contains no key; the message names it.
    pub fn load_or_create(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let folder = path
            .parent()
            .with_context(|| format!("{shown} is no place for a key file"))?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // Written to a temporary file and then linked into place, so that no process reads a partial key. Only the user
        // can read temporary files.
        let mut aside = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write {shown}"))?;
        let secret = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        writeln!(aside, "{}", URL_SAFE_NO_PAD.encode(&secret)).with_context(|| format!("cannot write {shown}"))?;
        match aside.persist_noclobber(path) {
            Ok(_) => Ok(Self { secret }),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                Self::load(path)?.with_context(|| format!("{shown} came and went"))
            }
            Err(error) => Err(error.error).with_context(|| format!("cannot write {shown}")),
        }
    }

    fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let shown = path.display();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the key file {shown}"));
            }
        };
        match URL_SAFE_NO_PAD.decode(text.trim()) {
            Ok(secret) if secret.len() >= 32 => Ok(Some(Self { secret })),
            Ok(_) | Err(_) => {
                anyhow::bail!("{shown} holds no development key; delete it, and a new one is made")
            }
        }
    }

    /// Returns a token for this user, valid from now for `lifetime`, with its email claimed as verified.
    ///
    /// # Errors
    /// Never in practice: only errors of the signing library.
    pub fn sign(&self, sub: &str, email: &str, name: &str, lifetime: Duration) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": sub,
            "email": email,
            "email_verified": true,
            "name": name,
            "iat": now.as_secs(),
            "exp": (now + lifetime).as_secs(),
        });
        let key = EncodingKey::from_secret(&self.secret);
        encode(&Header::new(Algorithm::HS256), &claims, &key).context("cannot sign a development token")
    }

    /// Returns the claims of a token, if this key signed it with HS256 for [`AUDIENCE`] as [`ISSUER`], and it is
    /// neither expired nor from the future.
    ///
    /// # Errors
    /// Fails with a short reason that contains nothing of the token.
    pub fn verify(&self, token: &str) -> Result<Claims, String> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        // The crate accepts a token in the very second of its expiry; RFC 7519 does not.
        validation.reject_tokens_expiring_in_less_than = 1;
        decode::<Claims>(token, &DecodingKey::from_secret(&self.secret), &validation)
            .map(|token| token.claims)
            .map_err(|error| format!("{error}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn key() -> DevelopmentKey {
        DevelopmentKey { secret: vec![7; 32] }
    }

    fn forge(header: &Value, claims: &Value, key: &DevelopmentKey) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let key = EncodingKey::from_secret(&key.secret);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{signed}.{signature}")
    }

    fn good_claims() -> Value {
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "exp": 4_000_000_000_u64})
    }

    #[test]
    fn own_token_keeps_its_claims() {
        let token = key().sign("user_1", "ann@example.com", "Ann", HOUR).unwrap();
        let claims = key().verify(&token).unwrap();
        assert_eq!(claims["sub"], "user_1");
        assert_eq!(claims["email"], "ann@example.com");
        assert_eq!(claims["name"], "Ann");
        assert_eq!(claims["email_verified"], true);
        assert!(
            key()
                .verify(&forge(&json!({"alg": "HS256"}), &good_claims(), &key()))
                .is_ok()
        );
    }

    #[test]
    fn other_tokens_are_refused() {
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let with = |name: &str, value: Value| {
            let mut claims = good_claims();
            claims[name] = value;
            forge(&header, &claims, &key())
        };
        let without = |name: &str| {
            let mut claims = good_claims();
            claims.as_object_mut().unwrap().remove(name);
            forge(&header, &claims, &key())
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&good_claims()));
        let mut tampered = forge(&header, &good_claims(), &key());
        tampered.replace_range(30..31, if &tampered[30..31] == "A" { "B" } else { "A" });
        let refused = [
            (
                "wrong key",
                forge(&header, &good_claims(), &DevelopmentKey { secret: vec![8; 32] }),
            ),
            ("expired", with("exp", json!(1_000_000_000))),
            ("not yet valid", with("nbf", json!(3_999_999_999_u64))),
            ("wrong issuer", with("iss", json!("https://elsewhere"))),
            ("wrong audience", with("aud", json!("elsewhere"))),
            ("no expiry", without("exp")),
            ("no issuer", without("iss")),
            ("no audience", without("aud")),
            ("no algorithm", unsigned),
            (
                "another algorithm",
                forge(&json!({"alg": "HS512"}), &good_claims(), &key()),
            ),
            ("tampered", tampered),
            ("not a token", "abc".to_owned()),
            ("empty", String::new()),
        ];
        for (why, token) in refused {
            assert!(key().verify(&token).is_err(), "accepted: {why}");
        }
    }

    #[test]
    fn key_is_created_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/key");
        let token = DevelopmentKey::load_or_create(&path)
            .unwrap()
            .sign("s", "e", "n", HOUR)
            .unwrap();
        assert!(DevelopmentKey::load_or_create(&path).unwrap().verify(&token).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = DevelopmentKey::load_or_create(&folder.path().join("other")).unwrap();
        assert!(other.verify(&token).is_err());

        fs::write(&path, "short").unwrap();
        let error = DevelopmentKey::load_or_create(&path).err().unwrap().to_string();
        assert!(
            error.contains("holds no development key") && !error.contains("short"),
            "{error}"
        );
    }

    #[test]
    fn concurrent_key_creators_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| DevelopmentKey::load_or_create(&path).unwrap().secret))
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}
