//! What tools need that examine a database, or the way to it, as a function would meet it: `cargo seer doctor`.
//!
//! Functions need none of it; [`crate::db`] connects for them.

pub use crate::config::database_url::RDS_ROOTS;
pub use crate::db::classify::{kind_of, kind_of_log_in};
pub use crate::db::connect::{Connection, Purpose, Target, complete, connect_once};
pub use crate::db::deadline::FUNCTION_TIMEOUT;
pub use crate::db::error::about_certificate;
pub use crate::db::first_message::{FirstBytes, ForeignReply, judge};
pub use crate::db::socket::Tuned;
