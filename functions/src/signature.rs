//! The signature of Standard Webhooks, which Svix sends under older header names: HMAC-SHA256 over id, time and raw body.

use http::{HeaderMap, HeaderName, HeaderValue};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

use crate::config::SigningKey;

/// The headers of a delivery, and their names before the standard.
const HEADERS: [(&str, &str); 3] = [
    (HEADER_WEBHOOK_ID, "svix-id"),
    (HEADER_WEBHOOK_TIMESTAMP, "svix-timestamp"),
    (HEADER_WEBHOOK_SIGNATURE, "svix-signature"),
];

/// Digits of a Unix time in seconds; more would overflow when its age is computed.
const LONGEST_TIMESTAMP: usize = 12;

/// Returns whether a request has any header of a signed delivery.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    HEADERS
        .iter()
        .any(|(name, older_name)| headers.contains_key(*name) || headers.contains_key(*older_name))
}

/// Returns the id of a delivery, the same for each retry, if one of the keys signed it at most five minutes ago.
pub(crate) fn verify(keys: &[SigningKey], headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let mut signed = HeaderMap::new();
    for (name, older_name) in HEADERS {
        let value: &HeaderValue = headers.get(name).or_else(|| headers.get(older_name))?;
        signed.insert(HeaderName::from_static(name), value.clone());
    }
    let id = signed.get(HEADER_WEBHOOK_ID)?.to_str().ok()?;
    let timestamp = signed.get(HEADER_WEBHOOK_TIMESTAMP)?.to_str().ok()?;
    let sound = (1..=LONGEST_TIMESTAMP).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let valid = |key: &SigningKey| {
        Webhook::from_bytes(key.bytes().to_vec()).is_ok_and(|webhook| webhook.verify(body, &signed).is_ok())
    };
    let verified = !id.is_empty() && sound && keys.iter().any(valid);
    verified.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<SigningKey> {
        text.split(',').map(|one| SigningKey::parse(one).unwrap()).collect()
    }

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItbw";

    /// Returns the headers of a delivery signed `age` seconds ago, with the prefix of their names.
    fn signed(prefix: &str, age: i64, body: &[u8]) -> HeaderMap {
        let time = chrono::Utc::now().timestamp() - age;
        let signature = Webhook::new(ONE).unwrap().sign("msg_1", time, body).unwrap();
        let values = [
            ("id", "msg_1".to_owned()),
            ("timestamp", time.to_string()),
            ("signature", signature),
        ];
        let header = |(name, value): (&str, String)| {
            (
                HeaderName::try_from(format!("{prefix}-{name}")).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        };
        values.into_iter().map(header).collect()
    }

    #[test]
    fn either_prefix_and_any_key_verify() {
        for prefix in ["webhook", "svix"] {
            let headers = signed(prefix, 0, b"{}");
            for known in [ONE.to_owned(), format!("{OTHER},{ONE}")] {
                assert_eq!(verify(&keys(&known), &headers, b"{}").as_deref(), Some("msg_1"));
            }
            assert_eq!(verify(&keys(OTHER), &headers, b"{}"), None);
            assert_eq!(verify(&[], &headers, b"{}"), None);
        }
    }

    #[test]
    fn altered_or_stale_delivery_is_refused() {
        let refused = |headers: &HeaderMap, body: &[u8]| {
            assert_eq!(verify(&keys(ONE), headers, body), None, "{headers:?}");
        };
        refused(&signed("webhook", 0, b"{}"), b"[]");
        refused(&signed("webhook", 301, b"{}"), b"{}");
        refused(&signed("webhook", -3600, b"{}"), b"{}");
        refused(&HeaderMap::new(), b"{}");
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed("webhook", 0, b"{}");
            headers.remove(name);
            refused(&headers, b"{}");
            for bad in [
                "",
                "-9223372036854775808",
                "9223372036854775807",
                "9999999999999",
                "v1,",
            ] {
                headers.insert(name, HeaderValue::from_static(bad));
                refused(&headers, b"{}");
            }
        }
    }
}
