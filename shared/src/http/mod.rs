//! HTTP for routes: from a Lambda event to a [`Request`], and from a [`Response`] or an [`Error`] back.
//!
//! | file | purpose |
//! |---|---|
//! | `run` | `main` of every function: INIT, the event loop, snapshots |
//! | `function` | the state of an execution environment, and its shutdown by SIGTERM |
//! | `request` | a handler's request, and its access to the database |
//! | `if_match` | the condition of a request |
//! | `response` | a handler's response |
//! | `problem` | every error that a client can see, and the only error status codes |
//! | `line` | the log line of an invocation |
//! | [`body`] | deserializes JSON and query strings, names the invalid field |
//! | [`page`] | lists by keyset cursor |
//! | [`size`] | the limit of an answer's size, and what is cut to fit it |
//! | `caller` | the caller's identity, from the token's claims |
//! | `share` | how much of an environment one caller may use |
//!
//! Invariants: contains no SQL, and knows no resource of a product. Depends on: the gateway, which verifies the token.

pub mod body;
mod caller;
mod event;
mod function;
mod if_match;
mod line;
pub mod page;
mod problem;
mod request;
mod response;
mod run;
mod share;
pub mod size;

pub use caller::Caller;
pub use function::Function;
pub use if_match::IfMatch;
pub(crate) use line::Scheduled;
pub(crate) use problem::Failure;
pub use problem::{Error, FieldError};
pub use request::{KEY_RULE, LONGEST_KEY, Request};
pub use response::Response;

/// Why a unit of work stopped: `?` converts both a database error and an [`Error`] into it.
pub type Abort = crate::db::Abort<Error>;
