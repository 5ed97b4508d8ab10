//! A password rotation during requests: none of them fails.
//!
//! Real function binaries, a real PostgreSQL whose password changes, and an independent Secrets Manager at
//! `AWS_ENDPOINT_URL`: `tests/credentials.py` starts one and runs this. The order of steps is that of AWS's own
//! rotation functions for one user: createSecret, setSecret, testSecret, finishSecret.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    reason = "tests, and not all of what they share with `it`"
)]

#[path = "../it/answer.rs"]
mod answer;
#[path = "../it/backend.rs"]
mod backend;
#[path = "../it/call.rs"]
mod call;
#[path = "../it/people.rs"]
mod people;

mod rotation;
