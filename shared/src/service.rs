//! What a product hands to the engine: its names, its words and its migrations.
//!
//! One value, a static of the product. May not: hold anything that an environment variable decides.

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
    /// A short lower-case word. It is part of each problem's `type` (`urn:NAME:problem:not-found`), names the internal
    /// extension, the sessions that migrate, and the lock that keeps two migrations apart.
    pub name: &'static str,
    /// The namespace of the health function's metrics in CloudWatch.
    pub metrics_namespace: &'static str,
    /// The `detail` of the 401 for a valid token whose subject is unknown: what the client has to do first.
    pub unknown_caller: &'static str,
    /// The product's schema, applied after the engine's own; see [`migrate`](crate::db::migrate::migrate).
    pub migrations: Option<&'static Migrator>,
}

impl Service {
    /// A service without a schema of its own, whose metrics have the service's name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            metrics_namespace: name,
            unknown_caller: "The token is valid, but its subject is not known here.",
            migrations: None,
        }
    }

    /// The key of the advisory lock that migrations hold: the first eight bytes of the name.
    pub(crate) fn migration_lock(&self) -> i64 {
        let bytes = self.name.bytes().take(8);
        bytes.fold(0, |lock, byte| lock << 8 | i64::from(byte))
    }
}
