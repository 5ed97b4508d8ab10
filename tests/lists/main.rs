//! The lists on a large, skewed table: what they return, and how much of the table they read for it.
//!
//! | file | holds |
//! |---|---|
//! | [`data`] | the table: one large team, members with many meetings, many small teams |
//! | [`plan`] | what a statement of `functions/.sqlx` reads, as EXPLAIN counts it |
//! | [`meetings`], [`tasks`] | each filter, caller and page |
//! | [`million`] | the table of docs/PERFORMANCE.md; by hand, because it loads a million meetings |
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod data;
mod meetings;
mod million;
mod plan;
mod tasks;
