//! The Lambda service on one machine: real function binaries in execution environments with Lambda's life cycle, behind
//! a real Runtime API over HTTP.
//!
//! An execution environment is one child process with a Runtime API endpoint of its own. It runs INIT within ten
//! seconds, serves one invocation at a time (or `max_concurrency`), is stopped with SIGSTOP once its runtime requests
//! the next event and continued when one comes, and is killed at the function's timeout. Invocations go to the most
//! recently used idle environment, else to a new one.
//!
//! Invariants: knows neither the functions' purpose nor their database, and guarantees nothing that the real service
//! does not guarantee. Depends on: POSIX process groups and signals, and `/bin/sh` for the watchdog that ends the
//! environments if this process is killed.
//!
//! Intended differences from the real service:
//! - A destroyed environment is a killed process, so the kernel still closes its sockets with a FIN. Lost packets
//!   require a proxy between the environment and its peer.
//! - Only internal extensions exist (those that the function registers itself), and none gets INVOKE events.
//! - A SnapStart snapshot is the same process, stopped at `/restore/next` and continued.
//! - New environments start one after the other, as fast as the machine can: here they share its processors, which
//!   environments of Lambda do not.
//! - A frozen process's monotonic clock continues.
//! - Environments with a concurrency above one are frozen too, when all their slots are idle.

mod environment;
mod exchange;
mod fleet;
mod function;
mod invocation;
mod log;
mod process;
mod runtime_api;
mod service;
mod start;
mod state;
mod watchdog;

pub use environment::{Environment, Phase};
pub use function::Function;
pub use invocation::{Invocation, Outcome, Payload};
pub use log::Forward;
pub use service::{Lambda, Options};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex, also after a panic in another thread: every state here is consistent between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
