//! The contract, asked of the real thing: every function's own binary in an emulated execution environment, on a real
//! PostgreSQL.
//!
//! | file | holds |
//! |---|---|
//! | [`backend`] | one test's backend: a database of its own and all functions |
//! | [`call`] | a request, made into an API Gateway event and sent |
//! | [`answer`] | what came back, and what every answer must be |
//! | [`people`] | callers: admins and the members of their teams |
//!
//! The other files hold the tests, one subject each. A test starts a [`backend::Backend`], shares nothing with other
//! tests, and makes all it needs through the routes. Nothing here may know how the functions do what they do: only
//! events, answers, log lines, rows and what passes on the wire are looked at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    unreachable_pub
)]

mod answer;
mod backend;
mod call;
mod people;

mod bad_input;
mod changes;
mod credentials;
mod deploys;
mod health;
mod idempotency;
mod init;
mod isolation;
mod kinds;
mod lifecycle;
mod lists;
mod meetings;
mod migrations;
mod names;
mod parameters;
mod pool;
mod registration;
mod requests;
mod roles;
mod round_trips;
mod schedules;
mod signatures;
mod tasks;
mod template;
mod users;
mod values;
mod webhook;
