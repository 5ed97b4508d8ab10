//! The lists on a large, skewed table: their results, and how much of the table they read.
//!
//! | file | purpose |
//! |---|---|
//! | [`data`] | the table: one large team, members with many meetings, many small teams |
//! | [`plan`] | the cost of a statement of `functions/.sqlx`, as EXPLAIN reports it |
//! | [`meetings`], [`tasks`] | each filter, caller and page |
//! | [`access`] | the SQL functions that decide who sees a meeting, in every statement that calls them |
//! | [`million`] | the table of docs/PERFORMANCE.md; run manually, because it loads a million meetings |
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod data;
mod meetings;
mod million;
mod plan;
mod tasks;
