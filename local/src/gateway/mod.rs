//! An API Gateway HTTP API on one machine: routes, a JWT authorizer, and Lambda proxy integrations with payload format
//! 2.0.
//!
//! Invariants: knows nothing of the functions' purpose, and answers as API Gateway does, including terse answers.
//! Depends on: [`crate::lambda`] to run the functions, and the workspace manifest for the routes.
//!
//! Intended differences from the real service: tokens are signed with a development key of this machine (HS256) instead
//! of an identity provider's, and there is no CORS and no request throttling.

mod answer;
mod event;
mod routes;
mod server;
mod token;

pub use event::event;
pub use routes::{Matched, Route, Routes};
pub use server::{Gateway, INTEGRATION_LIMIT, Settings};
pub use token::{AUDIENCE, Claims, DevelopmentKey, ISSUER};
