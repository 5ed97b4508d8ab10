//! PostgreSQL for code that is frozen between requests.
//!
//! | file | purpose |
//! |---|---|
//! | `pool` | the static pool: checkout that survives a freeze, overflow |
//! | `credentials` | credentials that are not in the URL: a rotated secret, a signed token |
//! | `target` | the server and its session's settings; what its errors mean |
//! | `connect` | opening a connection: attempts, several servers, budget |
//! | `connection` | an open connection |
//! | `status` | the statement after each connect: settings, facts about server and session |
//! | `tuned` | a connect with socket options that sqlx does not set |
//! | `socket` | the socket of a connection: options, a check for received bytes |
//! | `first_message` | whether the first bytes are a PostgreSQL server's |
//! | `work` | `read`: the unit of work of domain code; attempts |
//! | `write` | `write` and `transact`: the write protocol |
//! | `witness` | whether a late answer will still come |
//! | `executor` | for moved code: executor, transactions, connections that the caller ends |
//! | `receipt` | the rows that record a write: idempotency, lost commits, audit |
//! | `known` | the result of looking up the key of a write |
//! | `session` | the connection as domain code sees it |
//! | `classify` | the retry table |
//! | `retry` | attempts and back-off |
//! | `circuit` | refusing fast while the database is down |
//! | `deadline`, `clock` | time |
//! | `error`, `kind` | an error for the operator; the kinds of failure, with advice |
//! | `migrate` | the schema |
//! | `roles` | the roles that functions log in as |
//!
//! Invariants: knows nothing of HTTP, never reads the environment, and runs nothing in the background.
//! `docs/RELIABILITY.md` explains the retry table and the time budget.

mod circuit;
pub(crate) mod classify;
pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod connection;
mod credentials;
pub(crate) mod deadline;
pub(crate) mod error;
mod executor;
pub(crate) mod first_message;
pub(crate) mod kind;
mod known;
pub mod migrate;
mod pool;
mod receipt;
mod retry;
pub mod roles;
mod session;
mod socket;
mod status;
pub(crate) mod target;
pub(crate) mod tuned;
mod witness;
mod work;
mod write;

pub use deadline::Deadline;
pub use error::{Abort, Error};
pub use executor::{OwnedConnection, Transaction};
pub use kind::{Kind, Phase};
pub use known::{Known, Receipt};
pub(crate) use pool::Opened;
pub use pool::Pool;
pub(crate) use receipt::sweep_sql;
pub use receipt::{Change, IdempotencyKey, Origin, WriteAttempt};
pub use session::Session;
pub use write::Written;
