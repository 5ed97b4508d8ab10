//! Seer, the product: its domain over the engine of `shared`. The routes are the binaries beside this library.
//!
//! | module | purpose |
//! |---|---|
//! | [`users`], [`team`], [`invitations`], [`key_areas`], [`analyses`], [`meetings`], [`tasks`], [`ai_settings`], [`google`] | one statement for each operation, with its access rule and its refusals |
//! | [`clerk`] | the identity provider's events about users |
//! | `signature`, `repair` | the signature of other services' webhooks, and what their JSON has that JSON has not |
//! | [`config`] | the product's own environment variables |
//! | `openapi` | openapi.json, from the descriptions in the route files; only with the feature `openapi` |
//!
//! Invariants: never connects or retries, and reads the environment only in `config`. The schema is
//! `functions/migrations`, and the compiler's offline data about it is `functions/.sqlx`.

// The route files are also modules of `openapi`, and refer to this library by its name.
#[cfg(feature = "openapi")]
extern crate self as functions;

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

/// Returns the route's example event: the file in `tests/events` with the binary's name. In `openapi::routes`, where a
/// route file is no binary, another `include_str!` replaces the standard one.
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

/// Describes a route for clients, in its file. Takes a closure that completes the route's `Operation`, given the
/// `Schemas`, and defines the function `describe` from it. Without the feature `openapi` it expands to nothing.
#[macro_export]
macro_rules! describe {
    (|$operation:pat_param, $schemas:pat_param| $description:expr) => {
        #[cfg(feature = "openapi")]
        #[allow(dead_code)] // In the binary: only the library calls it.
        pub(crate) fn describe(
            $operation: $crate::openapi::Operation,
            $schemas: &mut $crate::openapi::Schemas,
        ) -> $crate::openapi::Operation {
            $description
        }
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
