//! The result of looking up the key of a write in the table `receipts`.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// The row under a write's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The write was applied. A statement that finds a receipt does not read it: a visible receipt may not be on the
    /// synchronous standby yet.
    Receipt(Option<Receipt>),
    /// A statement has to name this nonce to be let in; without one there is nothing under the key.
    Tombstone(Option<Uuid>),
}

impl Known {
    pub(super) fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        if row.try_get::<Option<&str>, _>("kind")?.is_none() {
            return row.try_get("nonce").map(Self::Tombstone);
        }
        Ok(Self::Receipt(Some(Receipt {
            request: row.try_get("request")?,
            id: row.try_get::<Option<Uuid>, _>("id")?.unwrap_or_default(),
            status: row.try_get::<i16, _>("status")?.unsigned_abs(),
        })))
    }
}

/// The receipt of a write that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) request: Uuid,
    /// The id of the changed resource.
    pub id: Uuid,
    /// The status that the request was answered with.
    pub status: u16,
}
