//! Seer, the product: its domain over the engine of `shared`. The routes are the binaries beside this library.
//!
//! | module | purpose |
//! |---|---|
//! | [`users`], [`team`], [`invitations`], [`key_areas`], [`analyses`], [`meetings`], [`tasks`], [`ai_settings`], [`google`] | one statement for each operation, with its access rule and its refusals |
//! | [`clerk`] | the identity provider's events about users |
//! | `signature`, `repair` | the signature of other services' webhooks, and what their JSON has that JSON has not |
//! | [`config`] | the product's own environment variables |
//! | `openapi` | the description of the routes, with the feature `openapi` |
//!
//! Invariants: never connects or retries, and reads the environment only in `config`. The schema is
//! `functions/migrations`, and the compiler's offline data about it is `functions/.sqlx`.

pub mod ai_settings;
pub mod analyses;
pub mod clerk;
pub mod config;
pub mod google;
pub mod ids;
pub mod invitations;
pub mod key_areas;
pub mod meetings;
#[cfg(feature = "openapi")]
pub mod openapi;
mod partial;
mod permission;
mod repair;
mod signature;
mod success;
pub mod tasks;
pub mod team;
pub mod users;

use shared::Service;
use sqlx::migrate::Migrator;

pub use success::Success;

/// The schema, without the engine's receipts.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The product's settings for the engine.
pub static SERVICE: Service = service();

/// The settings of the recorder's webhooks: a delivery carries each word of a meeting with its times, about 10 KB a
/// minute.
pub static RECORDER: Service = Service {
    largest_body: 4 * 1024 * 1024,
    ..service()
};

const fn service() -> Service {
    Service {
        metrics_namespace: "Seer",
        unknown_caller: "The token is valid, but its subject is not a user yet: POST /api/users/register first.",
        migrations: Some(&MIGRATIONS),
        oldest_waiting: Some(meetings::webhook::OLDEST_WAITING),
        sweeps: &["sweep_invitations"],
        ..Service::new("seer")
    }
}

/// Returns the example event of the route in `tests/events`, which has the binary's name.
#[macro_export]
macro_rules! example_event {
    () => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/events/",
            env!("CARGO_BIN_NAME"),
            ".json"
        ))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_in_a_transaction() {
        let outside: Vec<_> = MIGRATIONS.iter().filter(|migration| migration.no_tx).collect();
        assert!(outside.is_empty(), "all are applied in one: {outside:?}");
    }
}
