//! Receipts: how a write is applied exactly once.
//!
//! Every write is one statement that also inserts a row into `receipts` under its idempotency key. If the reply is
//! lost, the same statement is sent again under the same key: it finds the receipt (the lost statement was committed),
//! waits for it on the key's index (it is still running), or applies the change itself; a statement that arrives after
//! that fails on the key, and everything it did is undone. A *tombstone* is put under the key only before a request is
//! refused while a statement of its own may still arrive; it keeps that statement out. A client that finds the
//! tombstone later sends its nonce and is let in, so an environment that dies blocks no other.
//! `docs/reliability/writes.md` has the protocol with its cases.
//!
//! A write of a request leaves a row in `audit` as well, in the same statement: who changed which row. It outlives the
//! receipt.
//!
//! Invariants: neither row contains content of a request or an answer; a write that changed nothing leaves none.
//! Depends on: the tables `receipts` and `audit`. The statements here use the simple protocol, because it needs no
//! preparation; every value in them is a number, a UUID or in hexadecimal.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use uuid::Uuid;

use super::error::Abort;
use super::known::{Known, Receipt};
use super::session::Session;

/// How long a client's key is remembered.
const CLIENT_KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the receipt of a write without a client's key is kept: longer than any invocation lasts.
const GENERATED_KEY_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A sweep after a write deletes at most this many receipts, and only recently expired ones: a snapshot that is held
/// for long keeps deleted rows in the index, and a scan from the oldest would read them all.
const SWEEP: &str = "SELECT sweep_receipts('10 minutes', 100)";

/// A scheduled sweep deletes the rest, and old rows of `audit`.
const SWEEP_ALL: &str = "SELECT sweep_receipts('1000 years', 20000) + sweep_audit(20000)";

/// The most rows that a product's sweep deletes.
const SWEEP_BATCH: u32 = 20_000;

/// Identifies one write: the same for every time that it is sent.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The receipt's primary key.
    key: Uuid,
    /// Distinguishes a repetition from another request under the same key.
    request: Uuid,
    lifetime: Duration,
    pub(super) from_client: bool,
    origin: Option<Origin>,
}

/// The request that a write comes from, for its row in `audit`.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The id that the function's log and the client have as well.
    pub request_id: String,
    /// The subject of the caller's token; `None` for a request without one.
    pub actor: Option<String>,
    /// The route, such as `PUT /orders/{id}`.
    pub action: &'static str,
}

impl IdempotencyKey {
    /// Creates the key of a write without a client's key: this invocation can send it again, and it is never replayed.
    pub fn generated() -> Self {
        Self {
            key: Uuid::now_v7(),
            request: Uuid::nil(),
            lifetime: GENERATED_KEY_LIFETIME,
            from_client: false,
            origin: None,
        }
    }

    /// Creates the key of a request with a client's key. Keys are per `caller`; `request` is everything that makes two
    /// requests the same: method, path, conditions, body. The key is remembered for 24 hours.
    pub fn from_client(caller: &str, key: &str, request: &[&[u8]]) -> Self {
        Self {
            key: digest(&[b"keyed", caller.as_bytes(), key.as_bytes()]),
            request: digest(request),
            lifetime: CLIENT_KEY_LIFETIME,
            from_client: true,
            origin: None,
        }
    }

    /// Sets how long the key is remembered.
    pub fn kept_for(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets the request that the write comes from. A write without one leaves no row in `audit`.
    pub fn from_request(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Returns the parameters of the write's statement when it is first sent.
    pub(super) fn attempt(&self) -> WriteAttempt {
        WriteAttempt {
            key: self.key,
            request: self.request,
            nonce: None,
            record: Json(Record {
                lifetime: self.lifetime.as_secs_f64(),
                origin: self.origin.clone(),
            }),
            checked: AtomicBool::new(false),
        }
    }

    /// Returns whether `receipt` belongs to this very request.
    pub(super) fn matches(&self, receipt: &Receipt) -> bool {
        self.request == receipt.request
    }

    /// Looks for a receipt or a tombstone. `FOR KEY SHARE` makes the query a write: its commit waits for the
    /// synchronous standby, so that its result survives a failover. `settings` are a transaction's, and apply to the
    /// statement that is sent with them: behind a pooler they include the schema.
    pub(super) async fn look(&self, session: &mut Session, settings: &str) -> Result<Known, sqlx::Error> {
        let key = self.key;
        let sql = format!(
            "{settings}SELECT request, nonce, kind, id, version, status FROM receipts \
             WHERE key = '{key}' AND expires_at > now() FOR KEY SHARE"
        );
        let row = session.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        row.map_or(Ok(Known::Tombstone(None)), |row| Known::from_row(&row))
    }

    /// Puts a tombstone under the key, unless there is a receipt, which is then returned unchanged. Waits for a
    /// statement under this key that is still running.
    pub(super) async fn bury(&self, session: &mut Session, settings: &str) -> Result<Known, sqlx::Error> {
        let (key, request, nonce, lifetime) = (self.key, self.request, Uuid::now_v7(), self.lifetime.as_secs());
        let sql = format!(
            "{settings}INSERT INTO receipts AS r (key, request, nonce, expires_at) \
             VALUES ('{key}', '{request}', '{nonce}', now() + interval '{lifetime} seconds') \
             ON CONFLICT (key) DO UPDATE SET \
             kind = CASE WHEN r.expires_at > now() THEN r.kind END, \
             nonce = CASE WHEN r.kind IS NULL OR r.expires_at <= now() THEN excluded.nonce END, \
             expires_at = CASE WHEN r.kind IS NOT NULL AND r.expires_at > now() THEN r.expires_at \
             ELSE excluded.expires_at END \
             RETURNING request, nonce, kind, id, version, status"
        );
        let row = session.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Known::from_row(&row)
    }

    /// Inserts the receipt of a transaction and commits it, in one message.
    ///
    /// `statement_timeout` ends before COMMIT: cancelled while it waits for a synchronous standby, COMMIT reports
    /// success for a change that a failover would lose.
    pub(super) async fn commit(
        &self,
        session: &mut Session,
        nonce: Option<Uuid>,
        change: Option<&Change>,
    ) -> Result<(), sqlx::Error> {
        let mut sql = String::new();
        if let Some(change) = change {
            let (key, request, lifetime) = (self.key, self.request, self.lifetime.as_secs());
            let nonce = nonce.unwrap_or_default();
            let Change {
                kind,
                id,
                version,
                status,
            } = change;
            let version = version.map_or("NULL".to_owned(), |version| version.to_string());
            let _ = write!(
                sql,
                "DELETE FROM receipts WHERE key = '{key}' AND (nonce = '{nonce}' OR expires_at <= now());\
                 INSERT INTO receipts (key, request, kind, id, version, status, expires_at) VALUES \
                 ('{key}', '{request}', '{kind}', '{id}', {version}, {status}, \
                 now() + interval '{lifetime} seconds');"
            );
            if let Some(Origin {
                request_id,
                actor,
                action,
            }) = &self.origin
            {
                let (request_id, action) = (literal(request_id), literal(action));
                let actor = actor.as_deref().map_or("NULL".to_owned(), literal);
                let _ = write!(
                    sql,
                    "INSERT INTO audit (request_id, actor, action, kind, row_id, version, status) VALUES \
                     ({request_id}, {actor}, {action}, '{kind}', '{id}', {version}, {status});"
                );
            }
        }
        sql.push_str("SET LOCAL statement_timeout = 0;COMMIT");
        session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
    }
}

/// A change that an explicit transaction made, for its receipt.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The kind of the changed resource, such as `order`: letters only.
    pub kind: &'static str,
    /// The resource's id.
    pub id: Uuid,
    /// Its version after the change, if it has one.
    pub version: Option<i32>,
    /// The status that the request is answered with.
    pub status: u16,
}

/// The parameters that precede the statement's own in a write: see [`write_query!`](crate::write_query).
#[derive(Debug)]
pub struct WriteAttempt {
    /// `$1`
    pub key: Uuid,
    /// `$2`
    pub request: Uuid,
    /// `$3`: the tombstone that the statement expects to find.
    pub nonce: Option<Uuid>,
    /// `$4`
    pub record: Json<Record>,
    /// Whether the work has called [`check`](Self::check).
    checked: AtomicBool,
}

/// What a write's statement records beside the change: one parameter, so that the statement's own begin with `$5`
/// whatever is recorded.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// How long the receipt is kept, in seconds.
    lifetime: f64,
    #[serde(flatten)]
    origin: Option<Origin>,
}

impl WriteAttempt {
    /// Returns parameters that no tombstone lets in: the statement can be run, and changes nothing.
    pub fn rehearsal() -> Self {
        Self {
            nonce: Some(Uuid::now_v7()),
            ..IdempotencyKey::generated().attempt()
        }
    }

    pub(super) fn is_checked(&self) -> bool {
        self.checked.load(Ordering::Relaxed)
    }

    /// Checks the row of [`write_query_unchecked!`](crate::write_query_unchecked); see [`check`](Self::check).
    ///
    /// # Errors
    /// As [`check`](Self::check); also fails for a row that such a statement does not return.
    pub fn check_row<R>(&self, row: &PgRow) -> Result<(), Abort<R>> {
        Ok(self.check(row.try_get(0)?, row.try_get(1)?)?)
    }

    /// Checks the result of the statement's look under its key.
    ///
    /// # Errors
    /// Fails with [`Known`] unless the statement was let in: it has then changed nothing, and its other columns are
    /// meaningless.
    pub fn check(&self, receipt: bool, nonce: Option<Uuid>) -> Result<(), Known> {
        self.checked.store(true, Ordering::Relaxed);
        if receipt {
            return Err(Known::Receipt(None));
        }
        if nonce != self.nonce {
            return Err(Known::Tombstone(nonce));
        }
        Ok(())
    }
}

/// Deletes some of the receipts that have expired.
pub(super) async fn sweep(session: &mut Session, settings: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(format!("{settings}{SWEEP}"));
    session.execute(sqlx::raw_sql(sql)).await.map(drop)
}

/// Returns the statement of a scheduled sweep, whose result is the number of deleted rows: expired receipts, rows of
/// `audit` older than a year, and those that the product's functions `sweeps` delete, at most 20,000 of each.
pub(crate) fn sweep_sql(sweeps: &[&str]) -> String {
    let mut sql = SWEEP_ALL.to_owned();
    for sweep in sweeps {
        let _ = write!(sql, " + {sweep}({SWEEP_BATCH})");
    }
    sql
}

/// Returns text as an SQL expression for the simple protocol that has the same meaning under every setting.
fn literal(text: &str) -> String {
    let mut hex = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("convert_from(decode('{hex}', 'hex'), 'UTF8')")
}

/// Returns the first 16 bytes of SHA-256 over length-prefixed parts, so that different lists of parts never collide by
/// concatenation.
fn digest(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    Uuid::from_bytes(first)
}

/// Builds the statement of a write, checked at compile time like [`sqlx::query!`].
///
/// `$attempt` is the [`WriteAttempt`], whose values are `$1` to `$4`; the statement's own parameters follow from `$5`
/// on. `$ctes` are its common table expressions. The first of them that decides anything must select from `known`
/// `WHERE clear`, so that a statement that is not let in changes nothing; the last is `changed (kind, id, version,
/// status)`: a row for the receipt, or none if nothing was changed. `$result` are the columns of the answer `FROM known
/// …`, which is always one row. The row has two more columns, `receipt` and `nonce`, which must be passed to
/// [`WriteAttempt::check`]: a write that does not call it fails.
#[macro_export]
macro_rules! write_query {
    ($attempt:expr, $ctes:tt, $result:tt $(, $($arguments:tt)*)?) => {
        $crate::receipt_sql!(receipt_query, $ctes, $result, $attempt $(, $($arguments)*)?)
    };
}

/// As [`write_query!`](crate::write_query), without the check at compile time: its own parameters are bound after it.
///
/// ```
/// use shared::db::{Session, WriteAttempt};
/// use shared::http::Abort;
/// use sqlx::types::Uuid;
///
/// async fn insert(db: &mut Session, attempt: &WriteAttempt, id: Uuid, text: &str) -> Result<(), Abort> {
///     let write = shared::write_query_unchecked!(
///         attempt,
///         "made AS (INSERT INTO notes SELECT $5, $6 FROM known WHERE clear RETURNING id),
///         changed AS (SELECT 'note' AS kind, id, NULL::int AS version, 201 AS status FROM made)",
///         "1 FROM known"
///     );
///     let row = write.bind(id).bind(text).fetch_one(db).await?;
///     Ok(attempt.check_row(&row)?)
/// }
/// ```
#[macro_export]
macro_rules! write_query_unchecked {
    ($attempt:expr, $ctes:tt, $result:tt) => {
        $crate::receipt_sql!(receipt_query_unchecked, $ctes, $result, $attempt)
    };
}

/// Completes the statement of a write for both macros.
#[doc(hidden)]
#[macro_export]
macro_rules! receipt_sql {
    ($query:ident, $ctes:tt, $result:tt, $($arguments:tt)*) => {
        $crate::$query!(
            "WITH known AS (
                SELECT
                    r.kind IS NOT NULL AS receipt, r.nonce,
                    CASE WHEN r.key IS NULL THEN $3::uuid IS NULL
                        ELSE r.kind IS NULL AND r.nonce IS NOT DISTINCT FROM $3 END AS clear
                FROM (VALUES (1)) AS one LEFT JOIN receipts r ON r.key = $1 AND r.expires_at > now()
            ), ",
            $ctes,
            ", gone AS (
                DELETE FROM receipts r USING changed WHERE r.key = $1 AND (r.nonce = $3 OR r.expires_at <= now())
                RETURNING 1
            ), receipt AS (
                INSERT INTO receipts (key, request, kind, id, version, status, expires_at)
                SELECT
                    $1, $2, kind, id, version, status,
                    now() + make_interval(secs => ($4::jsonb ->> 'lifetime')::float8)
                FROM changed WHERE (SELECT count(*) FROM gone) >= 0
            ), audited AS (
                INSERT INTO audit (request_id, actor, action, kind, row_id, version, status)
                SELECT $4 ->> 'request_id', $4 ->> 'actor', $4 ->> 'action', kind, id, version, status
                FROM changed WHERE $4 ->> 'action' IS NOT NULL
            )
            SELECT known.receipt AS \"receipt!\", known.nonce AS \"nonce?\", ",
            $result,
            $($arguments)*
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! receipt_query {
    ($start:tt, $ctes:tt, $receipt:tt, $result:tt, $attempt:expr $(, $($arguments:tt)*)?) => {
        sqlx::query!(
            $start + $ctes + $receipt + $result,
            $attempt.key,
            $attempt.request,
            $attempt.nonce,
            &$attempt.record as _,
            $($($arguments)*)?
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! receipt_query_unchecked {
    ($start:tt, $ctes:tt, $receipt:tt, $result:tt, $attempt:expr) => {
        sqlx::query(concat!($start, $ctes, $receipt, $result))
            .bind($attempt.key)
            .bind($attempt.request)
            .bind($attempt.nonce)
            .bind(&$attempt.record)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_per_caller() {
        let key = |caller, key| IdempotencyKey::from_client(caller, key, &[b"body"]).key;
        assert_ne!(key("a", "k"), key("b", "k"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("a", "k"), key("a", "k"));
    }

    #[test]
    fn other_body_is_another_request() {
        let one = IdempotencyKey::from_client("a", "k", &[b"POST", b"/x", b"{}"]);
        let two = IdempotencyKey::from_client("a", "k", &[b"POST", b"/x", b"[]"]);
        assert_eq!(one.key, two.key);
        assert_ne!(one.request, two.request);
    }

    #[test]
    fn key_of_a_client_is_kept_for_a_day() {
        let kept = |key: IdempotencyKey| key.attempt().record.0.lifetime;
        assert_eq!(kept(IdempotencyKey::from_client("a", "k", &[b"body"])), 86_400.0);
        assert_eq!(kept(IdempotencyKey::generated()), 3_600.0);
    }

    #[test]
    fn rehearsal_is_never_admitted() {
        let rehearsal = WriteAttempt::rehearsal();
        assert_eq!(rehearsal.check(false, None), Err(Known::Tombstone(None)));
    }
}
