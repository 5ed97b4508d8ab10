//! The settings that a product passes to the engine: its names, its messages and its migrations.
//!
//! It is one value, a static of the product. Invariants: contains nothing that an environment variable decides.

use sqlx::migrate::Migrator;

/// A product on this engine.
///
/// ```
/// use shared::Service;
///
/// static SERVICE: Service = Service {
///     unknown_caller: "The token is valid, but its subject has no account: POST /accounts first.",
///     ..Service::new("notes")
/// };
/// ```
#[derive(Debug)]
pub struct Service {
    /// A short lower-case word. It is part of each problem's `type` (`urn:NAME:problem:not-found`), and of the names of
    /// the internal extension, of migrating sessions, and of the lock that serializes migrations.
    pub name: &'static str,
    /// The namespace of the health function's metrics in CloudWatch.
    pub metrics_namespace: &'static str,
    /// The `detail` of the 401 for a valid token whose subject is unknown: the client's next step.
    pub unknown_caller: &'static str,
    /// The product's schema, applied after the engine's own; see [`migrate`](crate::db::migrate::migrate).
    pub migrations: Option<&'static Migrator>,
    /// A statement that returns the age in seconds of the product's work that has waited longest, as a `bigint`, 0 if
    /// none waits. The health function asks it on schedule, for its metric `OldestWaiting`, as a role that may see no
    /// table: then the statement has to call a `SECURITY DEFINER` function.
    pub oldest_waiting: Option<&'static str>,
    /// The product's SQL functions that delete what is kept no longer: each takes the most rows that it may delete, and
    /// returns how many it did. The health function's schedule calls them.
    pub sweeps: &'static [&'static str],
    /// The largest body of a request that is read, in bytes. Lambda takes 6 MB, JSON's escapes of the body included.
    pub largest_body: usize,
}

impl Service {
    /// Returns a service without a schema of its own, whose metrics use the service's name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            metrics_namespace: name,
            unknown_caller: "The token is valid, but its subject is not known here.",
            migrations: None,
            oldest_waiting: None,
            sweeps: &[],
            largest_body: 1024 * 1024,
        }
    }

    /// Returns the key of the migrations' advisory lock: the first eight bytes of the name.
    pub(crate) fn migration_lock(&self) -> i64 {
        let bytes = self.name.bytes().take(8);
        bytes.fold(0, |lock, byte| lock << 8 | i64::from(byte))
    }
}
