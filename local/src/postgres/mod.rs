//! A real PostgreSQL on this machine: throwaway clusters for tests, one durable cluster for `cargo local`.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use local::postgres::{Cluster, Settings};
//!
//! let pg = Cluster::throwaway(Settings::default()).await?;
//! println!("{}", pg.url());
//! # Ok(()) }
//! ```
//!
//! The binaries are `$PG_BIN`'s, else installed ones, else fetched once (see [`Binaries::find`]). A cluster listens on
//! 127.0.0.1 only, always requires a password, and does not outlive this process, however it ends.
//!
//! Invariants: knows nothing about Seer's tables and runs no SQL on a running cluster: callers that need SQL connect to
//! [`Cluster::url`]. Depends on: the server's own report of every state (`postmaster.pid`, the server log), and
//! `/bin/sh` for the guard; nothing here needs `unsafe`.

mod account;
mod binaries;
mod cluster;
mod fetch;
mod guard;
mod home;
mod log;
mod places;
mod pooler;
mod port;
mod program;
mod server;
mod settings;
mod standby;
mod template;
mod tls;
mod variables;

pub use binaries::Binaries;
pub use cluster::{Cluster, Shutdown};
pub use pooler::Pooler;
pub use settings::Settings;
pub use standby::Replication;
