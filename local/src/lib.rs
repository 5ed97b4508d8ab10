//! Emulators for development and tests: PostgreSQL clusters, Lambda execution environments, an HTTP API gateway, a
//! fault-injecting TCP proxy; and mutated inputs for tests of parsers.

pub mod gateway;
pub mod lambda;
pub mod mutation;
pub mod postgres;
pub mod proxy;
pub mod secrets;
pub mod template;
