//! The pool against a real PostgreSQL behind a proxy that fails as networks do.
//!
//! In process, so that one cause is under test at a time; whole functions in whole environments are `tests/it`'s.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::result_large_err, reason = "the tests' own refusal, made a few times")]

mod bench;
mod by_hand;
mod checkout;
mod commit;
mod crowd;
mod lookup;
mod outage;
mod pooler;
mod protocol;
mod schema;
mod waking;
mod witness;
