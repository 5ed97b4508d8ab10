//! The fault suite: a fleet of execution environments, a fault between it and PostgreSQL, and a comparison of the
//! clients' answers with the content of the database.
//!
//! | file | purpose |
//! |---|---|
//! | [`catalogue`] | every scenario, in two sizes |
//! | `scenario` | a scenario's values: setup, load, faults, expectations |
//! | `fault` | the faults, each injected and cleared |
//! | `testbed`, `surroundings` | cluster, standby, proxy, fleet; names and clocks |
//! | `client`, `operations`, `team` | the load: the clients' requests, and their knowledge |
//! | `answer`, `history` | the answers |
//! | `oracle` | compares the guarantees with the tables |
//! | `run` | plays one scenario |
//! | `function` | any other function: its load and its verdict |
//! | `table`, `page`, `chart` | the report |
//! | `migrations` | the schema that the checkout's files describe |
//!
//! Depends on: the emulators of [`local`], all of them real, and the contract; never on how the functions fulfil it.

mod answer;
mod catalogue;
mod chart;
mod client;
mod fault;
mod function;
mod history;
mod migrations;
mod operations;
mod oracle;
mod page;
mod played;
mod run;
mod scenario;
mod surroundings;
mod table;
mod team;
mod testbed;

pub use catalogue::{Size, catalogue, for_peers};
pub use chart::chart;
pub use fault::{Fault, Whose};
pub use function::AnyFunction;
pub use history::{Entry, Seen, Span};
pub use migrations::migrations;
pub use operations::{FUNCTIONS, Workload};
pub use oracle::Verdict;
pub use page::page;
pub use played::Played;
pub use run::{missing, play};
pub use scenario::{Expectation, Injection, Load, Scenario};
pub use table::{Line, table};
pub use testbed::{Artifacts, Setup};
