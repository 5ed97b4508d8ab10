//! The recording service's deliveries: sent at least once, in any order, by either of its API versions.
//!
//! Each is applied exactly once: its id, or the digest of its body if it has none, is its idempotency key. Order does
//! not matter: a step older than the last applied one is skipped, and nothing undoes the data of a complete recording.
//! A delivery for a bot that no meeting has waits in `webhook_inbox` and is applied by the statement that gives a
//! meeting the bot, or the bot's calendar event; see the migrations 0015, 0031 and 0051. Invariants: a delivery is not
//! read before it is verified.
//!
//! | file | purpose |
//! |---|---|
//! | `report.rs` | the readable part of a delivery |
//! | `transcript.rs` | its words with their times, as one JSON text |
//! | `values.rs` | single values, in each form in which senders write them |

mod report;
mod transcript;
mod values;

use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::types::Json;

pub use report::Report;

use crate::config::RecorderSecrets;
use crate::signature;
use shared::db::{IdempotencyKey, Session, WriteAttempt};
use shared::http::{Abort, Error, Request, Response};
use shared::write_query;

/// The account's API key, in deliveries of the first API version.
const API_KEY: &str = "x-meeting-baas-api-key";
/// The secret of a bot's callbacks, in the second version.
const CALLBACK_SECRET: &str = "x-mb-secret";

/// The answer to an unverified delivery.
pub(crate) const REFUSED: &str =
    "The delivery's signature, API key or secret is missing or wrong, or it was not signed within five minutes.";

/// How long a delivery is remembered: longer than the recording service retries it.
pub const DELIVERY_LIFETIME: Duration = Duration::from_secs(72 * 60 * 60);

/// The age of the oldest delivery that waits for its meeting, in seconds. A function of the schema, because the role that
/// asks sees no table.
pub const OLDEST_WAITING: &str = "SELECT oldest_waiting_delivery()";

/// The answer to a delivery.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WebhookReceipt))]
pub struct Acknowledgement {
    /// Always true.
    received: bool,
}

impl Acknowledgement {
    /// The answer to every accepted delivery, first or repeated.
    pub const RECEIVED: Self = Self { received: true };
}

/// Verifies a delivery, and applies or keeps it.
///
/// # Errors
/// Fails with 401 for a delivery that no configured secret verifies, 500 without a secret, and 400, 413, 415 or 422 for
/// a body that is not an event about a bot.
pub async fn receive(request: &Request) -> Result<Response, Error> {
    let key = if request.is_rehearsal() {
        IdempotencyKey::generated()
    } else {
        let id = verify(RecorderSecrets::from_env()?, request.headers(), request.body())?;
        request.scoped_key("delivery", &id).kept_for(DELIVERY_LIFETIME)
    };
    let Some(report) = Report::read(request)? else {
        return Ok(Response::ok(&Acknowledgement::RECEIVED));
    };
    let answer = request
        .write_under(
            key,
            report,
            async |db, attempt, report| deliver(db, attempt, report).await,
            async |_, _, _| Ok(()),
            |()| Response::ok(&Acknowledgement::RECEIVED),
        )
        .await?;
    Ok(answer)
}

/// Returns what identifies a delivery if it comes from the recorder: by its signature if it has one, else by the secret
/// in a header.
fn verify(secrets: &RecorderSecrets, headers: &HeaderMap, body: &[u8]) -> Result<String, Error> {
    let refused = || Error::unauthorized(REFUSED);
    if signature::is_signed(headers) {
        let id = signature::verify(&secrets.signing, headers, body).ok_or_else(refused)?;
        return Ok(format!("signed {id}"));
    }
    let known = [(API_KEY, &secrets.api_keys), (CALLBACK_SECRET, &secrets.callbacks)]
        .into_iter()
        .any(|(name, secrets)| headers.get(name).is_some_and(|sent| secrets.contain(sent.as_bytes())));
    if !known {
        return Err(refused());
    }
    // These deliveries have no id.
    Ok(format!("digest {:x}", Sha256::digest(body)))
}

/// Stores a report, and applies it if a meeting has its bot.
async fn deliver(db: &mut Session, attempt: &WriteAttempt, report: &Report) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"delivered AS (
            SELECT deliver_recording(jsonb_populate_record(NULL::webhook_inbox, $5)) AS applied FROM known WHERE clear
        ), changed AS (
            SELECT 'delivery' AS kind, $6::uuid AS id, NULL::integer AS version, 200 AS status FROM delivered
        )"#,
        r#"d.applied AS "applied?" FROM known LEFT JOIN delivered d ON true"#,
        Json(report) as _,
        report.id(),
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    report.log(row.applied == Some(true));
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const SECRET: &str = "fedcba9876543210fedcba9876543210";

    fn id(configured: &str, headers: &[(&'static str, &'static str)], body: &[u8]) -> Option<String> {
        let secrets = RecorderSecrets::parse(Some(configured.to_owned()), false).unwrap();
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.insert(*name, HeaderValue::from_static(value));
        }
        verify(&secrets, &sent, body).ok()
    }

    #[test]
    fn header_is_compared_with_its_own_secrets() {
        let all = format!("api-key:{KEY} mb-secret:{SECRET}");
        let first = id(&all, &[(API_KEY, KEY)], b"{}").unwrap();
        assert_eq!(id(&all, &[(CALLBACK_SECRET, SECRET)], b"{}").unwrap(), first);
        assert_ne!(id(&all, &[(API_KEY, KEY)], b"[]").unwrap(), first);
        for (configured, headers) in [
            (&*all, &[][..]),
            (&all, &[(API_KEY, SECRET)]),
            (&all, &[(CALLBACK_SECRET, KEY)]),
            (&all, &[(API_KEY, "")]),
            // What is not configured is off.
            (&format!("mb-secret:{SECRET}"), &[(API_KEY, KEY)]),
            (&format!("api-key:{KEY}"), &[(CALLBACK_SECRET, SECRET)]),
            // A signature that is there has to be valid.
            (&all, &[(API_KEY, KEY), ("svix-id", "msg_1")]),
        ] {
            assert_eq!(id(configured, headers, b"{}"), None, "{configured} {headers:?}");
        }
    }
}
