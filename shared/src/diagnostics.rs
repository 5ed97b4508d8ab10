//! For tools that examine a database, or the network path to it, as a function uses it: `cargo seer doctor`.
//!
//! Functions do not use this module; [`crate::db`] connects for them.

pub use crate::config::database_url::RDS_ROOTS;
pub use crate::db::classify::{kind_of, kind_of_log_in};
pub use crate::db::connect::{Purpose, complete, connect_once};
pub use crate::db::connection::Connection;
pub use crate::db::deadline::FUNCTION_TIMEOUT;
pub use crate::db::error::about_certificate;
pub use crate::db::first_message::{FirstBytes, ForeignReply, judge};
pub use crate::db::target::{IDLE_SESSION, Target};
pub use crate::db::tuned::Tuned;

/// What a write does in the engine's tables, as SQL whose statements end with ";\n" and each write a row.
pub const TRIAL: &str = include_str!("../trial.sql");
