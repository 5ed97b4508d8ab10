//! PostgreSQL for code that is frozen between requests.
//!
//! | file | holds |
//! |---|---|
//! | [`pool`] | the static pool: checkout that survives a freeze, overflow |
//! | [`credentials`] | with what a connection logs in: a rotated secret, a signed token |
//! | [`connect`] | opening a connection: attempts, budget, session limits |
//! | [`status`] | the statement after each connect: settings, facts about server and session |
//! | [`socket`] | socket options sqlx does not set, a look at what has arrived |
//! | [`work`] | `read`: what domain code runs in; attempts |
//! | [`mod@write`] | `write` and `transact`: the write protocol |
//! | [`witness`] | whether a late answer will still come |
//! | [`by_hand`] | the same without closures: statements, transactions, connections that their caller ends |
//! | [`receipt`] | the row that makes a write findable: idempotency, lost commits |
//! | [`session`] | the connection as domain code sees it |
//! | [`classify`] | the retry table |
//! | [`retry`] | attempts and back-off |
//! | [`circuit`] | refusing fast while the database is down |
//! | [`deadline`], [`clock`] | time |
//! | [`error`] | what went wrong |
//! | [`migrate`] | the schema |
//! | [`roles`] | who the functions log in as |
//!
//! May not: know of HTTP, read the environment, or run anything in the background. `docs/RELIABILITY.md` explains the
//! retry table and the time budget.

pub mod by_hand;
pub mod circuit;
pub mod classify;
pub mod clock;
pub mod connect;
mod credentials;
pub mod deadline;
pub mod error;
pub mod migrate;
pub mod pool;
pub mod receipt;
pub mod retry;
pub mod roles;
pub mod session;
pub mod socket;
pub mod status;
mod witness;
pub mod work;
pub mod write;

pub use by_hand::{Held, Transaction};
pub use deadline::Deadline;
pub use error::{Abort, Error, Kind, Phase};
pub use pool::Pool;
pub use receipt::{Change, IdempotencyKey, Known, Receipt, WriteAttempt};
pub use session::Session;
pub use write::Written;
