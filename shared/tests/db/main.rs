//! The pool with a real PostgreSQL behind a proxy that injects network failures.
//!
//! The tests run in process, so that one cause is tested at a time; `tests/it` tests whole functions in whole
//! environments.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::result_large_err, reason = "the tests' own refusal, made a few times")]

mod bench;
mod checkout;
mod commit;
mod crowd;
mod executor;
mod lookup;
mod misuse;
mod outage;
mod pooler;
mod protocol;
mod schema;
mod strangers;
mod waking;
mod witness;
