//! Emulators for development and tests: PostgreSQL clusters, Lambda execution environments, an HTTP API gateway, a
//! fault-injecting TCP proxy.

pub mod gateway;
pub mod lambda;
pub mod postgres;
pub mod proxy;
pub mod secrets;
pub mod template;
