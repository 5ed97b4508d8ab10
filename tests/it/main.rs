//! Tests of the contract: every function's own binary in an emulated execution environment, on a real PostgreSQL.
//!
//! | file | purpose |
//! |---|---|
//! | [`backend`] | one test's backend: a separate database and all functions |
//! | [`call`] | a request, converted to an API Gateway event and sent |
//! | [`answer`] | the answer, and the requirements on every answer |
//! | [`people`] | callers: admins and the members of their teams |
//!
//! The other files contain the tests, one subject each. A test starts a [`backend::Backend`], shares nothing with other
//! tests, and creates all its data through the routes. Invariants: the tests know nothing of the functions'
//! implementation; they only use events, answers, log lines, rows and the traffic on the wire.
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

mod agenda;
mod analyses;
mod audit;
mod bad_input;
mod changes;
mod clerk;
mod content;
mod credentials;
mod crowd;
mod deploys;
mod documented;
mod fairness;
mod fuzz;
mod health;
mod idempotency;
mod init;
mod integrations;
mod invitations;
mod isolation;
mod key_areas;
mod kinds;
mod lifecycle;
mod lists;
mod log_lines;
mod matrix;
mod meetings;
mod membership;
mod migrations;
mod names;
mod odd_rows;
mod pages;
mod parameters;
mod pool;
mod predicates;
mod recorder;
mod registration;
mod requests;
mod roles;
mod round_trips;
mod schedules;
mod server_settings;
mod signatures;
mod suggestions;
mod tasks;
mod team;
mod template;
mod users;
mod values;
mod webhook;
