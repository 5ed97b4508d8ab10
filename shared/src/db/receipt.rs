//! Every write leaves a receipt: a row in `idempotency_keys`, written in the same transaction.
//!
//! It serves two ends. A client's Idempotency-Key finds the saved response again (replay). And when the reply to COMMIT
//! is lost, the receipt says what happened: present means committed, absent (once the transaction is no longer in
//! progress) means it never was. Unlike a transaction id it survives crash recovery and failover, so no identity of
//! server, timeline or postmaster has to be compared. It costs no round trip: it travels with COMMIT, and looking for
//! an earlier one travels with BEGIN. Each write also deletes two expired receipts, so the table keeps its size without
//! a job.
//!
//! The SQL here goes over the simple protocol, which has no parameters: every value in it is a number or hexadecimal.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use uuid::Uuid;

use super::session::Session;

/// How long a client's key is remembered.
const KEY_LIVES: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a write without a key can be asked about: longer than any invocation lasts.
const ANONYMOUS_LIVES: Duration = Duration::from_secs(15 * 60);

/// What identifies one write.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Digest of the caller and the key; the receipt's primary key.
    key: [u8; 32],
    /// Digest of the request, to tell a repetition from another request under the same key.
    request: [u8; 32],
    lives: Duration,
    /// Whether a client may come again with it.
    keyed: bool,
}

/// What a claim finds when the transaction begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing: this transaction may do the work.
    Nothing,
    /// The same request was answered; these are the bytes that were saved.
    Saved(Vec<u8>),
    /// Another request was answered under this key.
    Other,
    /// Another transaction is at work under this key.
    Running,
}

impl Claim {
    /// For a write that brings no key: findable by this process, never replayed.
    pub fn anonymous() -> Self {
        let id = Uuid::now_v7();
        Self {
            key: digest(&[b"anonymous", id.as_bytes()]),
            request: [0; 32],
            lives: ANONYMOUS_LIVES,
            keyed: false,
        }
    }

    /// For a request under an idempotency key. Keys are per `caller`; `request` is everything that makes two requests
    /// the same: method, path, body.
    pub fn keyed(caller: &str, key: &str, request: &[&[u8]]) -> Self {
        Self {
            key: digest(&[b"keyed", caller.as_bytes(), key.as_bytes()]),
            request: digest(request),
            lives: KEY_LIVES,
            keyed: true,
        }
    }

    /// BEGIN, the transaction's settings, its id and, for a client's key, what is known under it: one round trip.
    ///
    /// A first attempt does not wait for another transaction under the key. A later one does, within
    /// `statement_timeout`: the holder may be its own last attempt, on a connection that the server has yet to give up.
    pub(super) async fn begin(
        &self,
        session: &mut Session,
        settings: &str,
        first: bool,
    ) -> Result<(String, Found), sqlx::Error> {
        let mut sql = format!("BEGIN;{settings}SELECT pg_current_xact_id()::text AS xid");
        if self.keyed {
            let (lock, key) = (self.lock(), hex(&self.key));
            let sole = if first {
                format!("pg_try_advisory_xact_lock({lock})")
            } else {
                format!("pg_advisory_xact_lock({lock})::text = ''")
            };
            // A statement of its own after the lock: its snapshot must see what the lock's last holder committed.
            let _ = write!(
                sql,
                ", {sole} AS sole;\
                 SELECT request, response FROM idempotency_keys WHERE key = {key} AND expires_at > now()"
            );
        }
        let rows = session.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let xid = first.try_get("xid")?;
        if !self.keyed {
            return Ok((xid, Found::Nothing));
        }
        if !first.try_get::<bool, _>("sole")? {
            return Ok((xid, Found::Running));
        }
        let found = rows.get(1).map_or(Ok(Found::Nothing), |row| self.found(row))?;
        Ok((xid, found))
    }

    fn found(&self, row: &PgRow) -> Result<Found, sqlx::Error> {
        let request: Vec<u8> = row.try_get("request")?;
        if request != self.request {
            return Ok(Found::Other);
        }
        row.try_get("response").map(Found::Saved)
    }

    /// The receipt and COMMIT: one round trip. A failure of the receipt keeps the server from reaching COMMIT.
    ///
    /// `statement_timeout` ends before COMMIT: cancelled while it waits for a synchronous standby, COMMIT reports
    /// success for what a failover would lose.
    pub(super) async fn commit(&self, session: &mut Session, response: &[u8]) -> Result<(), sqlx::Error> {
        // Nobody can ask for the response of a write without a key.
        let response = if self.keyed { response } else { &[] };
        let (key, request, response) = (hex(&self.key), hex(&self.request), hex(response));
        let lives = self.lives.as_secs();
        let sql = format!(
            "INSERT INTO idempotency_keys AS k (key, request, response, expires_at) \
             VALUES ({key}, {request}, {response}, now() + interval '{lives} seconds') \
             ON CONFLICT (key) DO UPDATE SET request = excluded.request, response = excluded.response, \
             created_at = now(), expires_at = excluded.expires_at WHERE k.expires_at <= now();\
             DELETE FROM idempotency_keys WHERE key IN (SELECT key FROM idempotency_keys \
             WHERE expires_at < now() ORDER BY expires_at LIMIT 2 FOR UPDATE SKIP LOCKED);\
             SET LOCAL statement_timeout = 0;COMMIT"
        );
        session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
    }

    /// Whether the receipt is there: whether the transaction was committed, once it is no longer in progress. One that
    /// has expired is an earlier request's, which this transaction would have replaced. `settings` are a transaction's,
    /// and hold for the statements that are sent with them: behind a pooler the schema is among them.
    pub(super) async fn is_kept(&self, session: &mut Session, settings: &str) -> Result<bool, sqlx::Error> {
        let (key, request) = (hex(&self.key), hex(&self.request));
        let sql = format!(
            "{settings}SELECT 1 FROM idempotency_keys \
             WHERE key = {key} AND request = {request} AND expires_at > now()"
        );
        let row = session.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(row.is_some())
    }

    /// The advisory lock that this key is worked on under.
    pub fn lock(&self) -> i64 {
        let [a, b, c, d, e, f, g, h, ..] = self.key;
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Whether the transaction is still at work on the server it ran on. A server that does not know the id (it failed over
/// or lost its last moments in a crash) has no such transaction under way.
pub(super) async fn in_progress(session: &mut Session, xid: &str) -> Result<bool, sqlx::Error> {
    // Digits only, by the server's own output of xid8.
    let xid: u64 = xid.parse().unwrap_or_default();
    let sql = format!("SELECT coalesce(pg_xact_status('{xid}'::xid8) = 'in progress', false) AS running");
    match session.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await {
        Ok(row) => row.try_get("running"),
        // 22023: "transaction ID … is in the future".
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22023") => Ok(false),
        Err(error) => Err(error),
    }
}

/// SHA-256 over length-prefixed parts, so that no two lists of parts read the same.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A bytea literal.
fn hex(bytes: &[u8]) -> String {
    let mut literal = String::with_capacity(bytes.len() * 2 + 12);
    literal.push_str("'\\x");
    for byte in bytes {
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push_str("'::bytea");
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_per_caller_and_parts_do_not_run_together() {
        let key = |caller, key| Claim::keyed(caller, key, &[b"body"]).key;
        assert_ne!(key("a", "k"), key("b", "k"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("a", "k"), key("a", "k"));
    }

    #[test]
    fn another_body_is_another_request_under_the_same_key() {
        let one = Claim::keyed("a", "k", &[b"POST", b"/x", b"{}"]);
        let two = Claim::keyed("a", "k", &[b"POST", b"/x", b"[]"]);
        assert_eq!(one.key, two.key);
        assert_ne!(one.request, two.request);
    }

    #[test]
    fn nothing_but_hexadecimal_gets_into_the_sql() {
        assert_eq!(hex(b"'; DROP--"), "'\\x273b2044524f502d2d'::bytea");
    }
}
