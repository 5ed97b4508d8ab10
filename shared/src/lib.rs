//! Everything that Seer's functions share: configuration, the PostgreSQL pool, HTTP, the domain.
//!
//! Layers, each knowing only those above it: `config` and `telemetry`; `db`; `http`; the domain (`users`, `invitations`,
//! `meetings`, `tasks`, `health`). A route binary in `functions/src/bin` calls the domain through `http` and holds
//! nothing else. `docs/ARCHITECTURE.md` is the map.

pub mod config;
pub mod db;
pub mod health;
pub mod http;
pub mod invitations;
pub mod meetings;
pub mod migrations;
#[cfg(feature = "openapi")]
pub mod openapi;
mod partial;
mod shared_pool;
pub mod tasks;
pub mod telemetry;
pub mod text;
pub mod users;

pub use shared_pool::SharedPool;
