//! The Lambda service on one machine: real function binaries in execution environments that live as
//! Lambda's do, behind a real Runtime API over HTTP.
//!
//! An execution environment is one child process with a Runtime API endpoint of its own. It runs INIT
//! within ten seconds, serves one invocation at a time (or `max_concurrency`), is stopped with SIGSTOP
//! once its runtime asks for the next event and continued when one comes, and is killed at the
//! function's timeout. Invocations go to the most recently used idle environment, else to a new one.
//!
//! It may not know what the functions do or which database they use, and it makes no promise the real
//! service does not make. It relies on POSIX process groups and signals and on `/bin/sh` for the
//! watchdog that ends the environments when this process is killed.
//!
//! Differences from the real service, on purpose:
//! - A destroyed environment is a killed process, so the kernel still closes its sockets with a FIN.
//!   Packets that vanish need a proxy between the environment and its peer.
//! - Only internal extensions exist (those the function registers itself), and none gets INVOKE events.
//! - A SnapStart snapshot is the same process, stopped at `/restore/next` and continued.
//! - New environments start one after the other, as fast as the machine can: here they share its processors, which no
//!   two environments of Lambda's do.
//! - A frozen process's monotonic clock goes on.
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
mod watchdog;

pub use environment::{Environment, Phase};
pub use function::Function;
pub use invocation::{Invocation, Outcome, Payload};
pub use log::Forward;
pub use service::{Lambda, Options};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guard of `mutex`, also after a panic elsewhere: every state here is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
