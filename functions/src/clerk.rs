//! The identity provider's events about users: a new name or address, and a deleted account.
//!
//! Signing in does not depend on them: `users-register` creates a user's row from the token. A deleted account keeps
//! its row, under a subject that no token can have, so that meetings and tasks keep their people. Invariants: an event
//! is not read before its signature is verified.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::config;
use crate::repair::repaired;
use crate::signature;
use shared::db::{Session, WriteAttempt};
use shared::http::body::Object;
use shared::http::{Abort, Error, Request};
use shared::text::Text;
use shared::write_query;

/// The answer to an event without a valid signature.
pub const REFUSED: &str = "The event's signature is missing, wrong, or more than five minutes old.";

/// Begins the subject of a deactivated user: a token's subject never contains a control character.
const DEACTIVATED: &str = "\u{1}deleted:";

/// The name of a deactivated user.
const FORMER_MEMBER: &str = "Former member";

/// The longest name and address, as in the claims of a token.
const LONGEST: usize = 255;

/// A verified event.
#[derive(Debug)]
pub struct Delivery {
    /// The sender's id of the event, the same for each retry.
    pub id: String,
    /// The event.
    pub event: Event,
}

/// An event about a user.
#[derive(Debug)]
pub enum Event {
    /// The account was changed.
    Updated(Updated),
    /// The account was deleted.
    Deleted(Deleted),
    /// An event that this backend does not use.
    Other,
}

/// Unknown fields are accepted, because the sender may add some.
#[derive(Deserialize)]
struct Named {
    r#type: String,
}

#[derive(Deserialize)]
struct Body<T> {
    data: Object<T>,
}

/// A changed account, as far as it is stored here. A member that cannot be read is skipped, because the others are worth
/// keeping.
#[derive(Debug, Deserialize)]
pub struct Updated {
    id: Subject,
    #[serde(default)]
    first_name: Value,
    #[serde(default)]
    last_name: Value,
    #[serde(default)]
    primary_email_address_id: Value,
    #[serde(default)]
    email_addresses: Value,
    updated_at: Milliseconds,
}

/// A deleted account.
#[derive(Debug, Deserialize)]
pub struct Deleted {
    id: Subject,
}

/// The provider's id of an account, which is its tokens' subject.
type Subject = Text<LONGEST>;

/// A Unix time in milliseconds, up to the year 9999.
#[derive(Clone, Copy, Debug)]
struct Milliseconds(DateTime<Utc>);

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let whole = || value.as_f64().filter(|number| number.fract() == 0.0);
        let number = value.as_i64().or_else(|| whole().map(|number| number as i64));
        let number = number.or_else(|| value.as_str()?.parse().ok());
        let time = number
            .filter(|number| (0..253_402_300_800_000).contains(number))
            .and_then(DateTime::from_timestamp_millis);
        let rule = || de::Error::custom("must be a Unix time in milliseconds");
        time.map(Self).ok_or_else(rule)
    }
}

impl Delivery {
    /// Verifies an event's signature and age, then parses it.
    ///
    /// # Errors
    /// Fails with 401 for a signature that is absent, wrong or more than five minutes old or early, 500 without a
    /// secret, and 400, 415 or 422 for a body that does not match its type.
    pub fn of(request: &Request) -> Result<Self, Error> {
        let id = if request.is_rehearsal() {
            String::new()
        } else {
            let keys = config::clerk_signing_keys()?;
            signature::verify(keys, request.headers(), request.body()).ok_or_else(|| Error::unauthorized(REFUSED))?
        };
        let (text, _) = repaired(request.body());
        let Named { r#type } = request.json_from(text.as_bytes())?;
        let event = match r#type.as_str() {
            "user.updated" => Event::Updated(request.json_from::<Body<_>>(text.as_bytes())?.data.0),
            "user.deleted" => Event::Deleted(request.json_from::<Body<_>>(text.as_bytes())?.data.0),
            _ => Event::Other,
        };
        Ok(Self { id, event })
    }
}

impl Updated {
    /// Returns the primary address in lower case, if the provider has verified it.
    fn email(&self) -> Option<String> {
        let primary = self.primary_email_address_id.as_str()?;
        let mut addresses = self.email_addresses.as_array()?.iter();
        let address = addresses.find(|address| address["id"].as_str() == Some(primary))?;
        let verified = address["verification"]["status"].as_str() == Some("verified");
        usable(&address["email_address"].as_str()?.to_ascii_lowercase()).filter(|_| verified)
    }

    /// Returns the first and the last name.
    fn name(&self) -> Option<String> {
        let names = [&self.first_name, &self.last_name].into_iter();
        let names: Vec<_> = names
            .filter_map(Value::as_str)
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        usable(&names.join(" "))
    }
}

/// Returns text that a claim could be too; see `shared::http::Caller`.
fn usable(text: &str) -> Option<String> {
    let text = text.trim_matches(' ');
    let usable = !text.is_empty() && text.chars().count() <= LONGEST && !text.contains(char::is_control);
    usable.then(|| text.to_owned())
}

/// Applies an event to its user; an unknown one has not registered, or is deactivated.
///
/// # Errors
/// Fails with the database error.
pub async fn apply(db: &mut Session, attempt: &WriteAttempt, event: &Event) -> Result<(), Abort> {
    match event {
        Event::Updated(updated) => update(db, attempt, updated).await,
        Event::Deleted(deleted) => deactivate(db, attempt, deleted).await,
        Event::Other => Ok(()),
    }
}

async fn update(db: &mut Session, attempt: &WriteAttempt, updated: &Updated) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"updated AS (
            UPDATE users u
            SET email = coalesce($6, u.email), name = coalesce($7, u.name), clerk_updated_at = $8,
                updated_at = clock_timestamp()
            FROM known
            WHERE u.clerk_id = $5 AND clear AND (u.clerk_updated_at IS NULL OR u.clerk_updated_at < $8)
            RETURNING u.id
        ), changed AS (
            SELECT 'user' AS kind, id, NULL::integer AS version, 200 AS status FROM updated
        )"#,
        r#"u.id AS "user?" FROM known LEFT JOIN updated u ON true"#,
        updated.id.as_str(),
        updated.email(),
        updated.name(),
        updated.updated_at.0,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    Ok(())
}

/// Replaces subject, address and name, and withdraws the pending invitations. The team stays. The new subject is unique
/// by the row's id: a token that outlives its account may register the old subject again, which is then deleted too.
async fn deactivate(db: &mut Session, attempt: &WriteAttempt, deleted: &Deleted) -> Result<(), Abort> {
    let row = write_query!(
        attempt,
        r#"deactivated AS (
            UPDATE users u
            SET clerk_id = $6 || u.clerk_id || chr(1) || u.id, email = u.id || '@deleted.invalid', name = $7,
                updated_at = clock_timestamp()
            FROM known
            WHERE u.clerk_id = $5 AND clear
            RETURNING u.id, u.role
        ), withdrawn AS (
            DELETE FROM invitations i USING deactivated d WHERE i.admin_id = d.id AND i.status = 'pending'
        ), changed AS (
            SELECT 'user' AS kind, id, NULL::integer AS version, 200 AS status FROM deactivated
        )"#,
        r#"d.id AS "user?", d.role AS "role?" FROM known LEFT JOIN deactivated d ON true"#,
        deleted.id.as_str(),
        DEACTIVATED,
        FORMER_MEMBER,
    )
    .fetch_one(db)
    .await?;
    attempt.check(row.receipt, row.nonce)?;
    if let (Some(user), Some("admin")) = (row.user, row.role.as_deref()) {
        tracing::warn!(user = %user, "an admin's account was deleted, and their team has no admin now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn updated(more: Value) -> Updated {
        let mut data = json!({"id": "user_1", "updated_at": 1_767_258_000_000_u64});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(data).unwrap()
    }

    #[test]
    fn address_is_primary_and_verified() {
        let address = |id: &str, status: Value| json!({"id": id, "email_address": format!("{id}@Example.com"), "verification": {"status": status}});
        let of = |primary: Value, addresses: Value| {
            updated(json!({"primary_email_address_id": primary, "email_addresses": addresses})).email()
        };
        let both = json!([address("One", json!("verified")), address("Two", json!("unverified"))]);
        assert_eq!(of(json!("One"), both.clone()).as_deref(), Some("one@example.com"));
        let odd = json!([null, 5, {"email_address": null}, {"id": "Two", "verification": []}, both[0]]);
        assert_eq!(of(json!("One"), odd).as_deref(), Some("one@example.com"));
        for (primary, addresses) in [
            (json!("Two"), both.clone()),
            (json!("Three"), both.clone()),
            (json!(null), both.clone()),
            (json!("One"), json!([])),
            (json!("One"), json!(null)),
            (json!(5), both),
            (json!("One"), json!({"id": "One"})),
            (json!("One"), json!([{"id": "One", "email_address": null}])),
            (
                json!("One"),
                json!([{"id": "One", "email_address": "a@b.c", "verification": "verified"}]),
            ),
            (json!("One"), json!([address("One", json!(null))])),
            (
                json!("One"),
                json!([{"id": "One", "email_address": "a@b.c", "verification": null}]),
            ),
            (
                json!("One"),
                json!([{"id": "One", "email_address": "a\u{0}@b.c", "verification": {"status": "verified"}}]),
            ),
        ] {
            assert_eq!(of(primary, addresses.clone()), None, "{addresses}");
        }
    }

    /// As a token's claim: an address with another white space is another address.
    #[test]
    fn address_loses_only_spaces_around() {
        let of = |address: &str| {
            let verified = json!({"status": "verified"});
            let addresses = json!([{"id": "One", "email_address": address, "verification": verified}]);
            updated(json!({"primary_email_address_id": "One", "email_addresses": addresses})).email()
        };
        assert_eq!(of("  Ada@Example.com ").as_deref(), Some("ada@example.com"));
        assert_eq!(of("\u{a0}ada@example.com").as_deref(), Some("\u{a0}ada@example.com"));
        assert_eq!(
            of("ada@example.com\u{3000}").as_deref(),
            Some("ada@example.com\u{3000}")
        );
        for control in ["\tada@example.com", "ada@example.com\n", " \u{85}ada@example.com"] {
            assert_eq!(of(control), None, "{control:?}");
        }
    }

    #[test]
    fn unusable_member_is_named() {
        let refused = |more: Value| {
            let mut data = json!({"id": "user_1", "updated_at": 1_767_258_000_000_u64});
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Updated>(data).unwrap_err().to_string()
        };
        for id in [json!("a\u{0}"), json!(""), json!("x".repeat(256)), json!(null)] {
            assert!(!refused(json!({"id": id})).is_empty());
        }
        for time in [
            json!(-1),
            json!(253_402_300_800_000_u64),
            json!(1.5),
            json!("now"),
            json!(null),
        ] {
            assert!(refused(json!({"updated_at": time})).contains("milliseconds"), "{time}");
        }
        for time in [json!("1767258000000"), json!(1_767_258_000_000.0)] {
            let time = updated(json!({"updated_at": time})).updated_at;
            assert_eq!(time.0, updated(json!({})).updated_at.0);
        }
    }

    #[test]
    fn name_is_kept_without_a_new_one() {
        let of = |first: Value, last: Value| updated(json!({"first_name": first, "last_name": last})).name();
        assert_eq!(of(json!(" Ada "), json!("Byron")).as_deref(), Some("Ada Byron"));
        for unread in [json!(null), json!(5), json!({"first": "Ada"})] {
            assert_eq!(of(unread, json!("Byron")).as_deref(), Some("Byron"));
        }
        for (first, last) in [
            (json!(null), json!(null)),
            (json!(" "), json!("")),
            (json!("a\u{0}"), json!("b")),
        ] {
            assert_eq!(of(first, last), None);
        }
    }
}
