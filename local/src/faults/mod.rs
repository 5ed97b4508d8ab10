//! The fault suite: a fleet of execution environments, a fault between it and PostgreSQL, and a check of what clients
//! saw against what the database holds.
//!
//! | file | holds |
//! |---|---|
//! | [`catalogue`] | every scenario, in two sizes |
//! | `scenario` | what a scenario is: a stage, a load, strikes, expectations |
//! | `fault` | the faults, each struck and lifted |
//! | `scene`, `surroundings` | cluster, standby, proxy, fleet; names and clocks |
//! | `client`, `operations`, `team` | the load: what clients ask, and what they know |
//! | `answer`, `history` | what came back |
//! | `oracle` | what was promised against what is stored |
//! | `run` | one scenario, played |
//! | `table`, `page` | the report |
//!
//! It relies on [`crate::postgres`], [`crate::lambda`], [`crate::proxy`] and [`crate::gateway`], all of them real, and on
//! the contract; never on how the functions keep it.

mod answer;
mod catalogue;
mod client;
mod fault;
mod history;
mod operations;
mod oracle;
mod page;
mod played;
mod run;
mod scenario;
mod scene;
mod surroundings;
mod table;
mod team;

pub use catalogue::{Size, catalogue, for_peers};
pub use fault::{Fault, TABLES, Whose};
pub use history::{Entry, Seen, Span};
pub use operations::Kind;
pub use oracle::Verdict;
pub use page::page;
pub use played::Played;
pub use run::{missing, play};
pub use scenario::{Expectation, Load, Scenario, Strike};
pub use scene::{Ground, Stage};
pub use table::{Line, table};
