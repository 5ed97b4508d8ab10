//! An API Gateway HTTP API on one machine: routes, a JWT authorizer, and Lambda proxy integrations with payload format
//! 2.0.
//!
//! Invariants: knows nothing of the functions' purpose, and answers as API Gateway does, including terse answers.
//! Depends on: [`crate::lambda`] to run the functions, and the workspace manifest for the routes.
//!
//! Intended differences from the real service: without an issuer, tokens are signed with a development key of this
//! machine (HS256), an audience is not required, there is no request throttling, and a request must name this machine as
//! its host.

mod answer;
pub mod cors;
mod event;
mod issuer;
mod routes;
mod server;
mod token;

pub use cors::Origins;
pub use event::event;
pub use issuer::Issuer;
pub use routes::{Matched, Route, Routes};
pub use server::{Answered, Authorizer, Gateway, INTEGRATION_LIMIT, Observer, Settings};
pub use token::{AUDIENCE, Claims, DevelopmentKey, ISSUER};
