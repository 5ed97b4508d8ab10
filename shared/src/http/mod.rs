//! A route's surroundings: from a Lambda event to a [`Request`], from a [`Response`] or an [`Error`] back.
//!
//! | file | holds |
//! |---|---|
//! | [`mod@run`] | `main` of every function: INIT, the event loop, snapshots |
//! | [`function`] | the state of an execution environment, and its end by SIGTERM |
//! | [`request`] | what a handler asks of its request, and its way to the database |
//! | [`response`] | what a handler answers |
//! | [`problem`] | every error a client can see, and the only status codes there are for them |
//! | [`body`] | JSON and query strings into types, with the offending field named |
//! | [`page`] | lists by keyset cursor |
//! | [`caller`] | who is asking, from the token's claims |
//!
//! May not: hold SQL, or know any resource of a product. Relies on the gateway to have verified the token.

pub mod body;
pub mod caller;
pub mod function;
pub mod page;
pub mod problem;
pub mod request;
pub mod response;
pub mod run;

pub use caller::Caller;
pub use function::Function;
pub use problem::Error;
pub use request::{IfMatch, Request};
pub use response::Response;

/// Why a unit of work stopped: `?` turns both a database error and an [`Error`] into it.
pub type Abort = crate::db::Abort<Error>;
