//! The environment variables that decide where PostgreSQL comes from; the functions' own are in `shared::config`.
//!
//! - `PG_BIN`: the folder of PostgreSQL's programs, preferred to installed ones.
//! - `XDG_CACHE_HOME`, else `HOME`: the parent of the cache folder.
//! - `PATH`, `LD_LIBRARY_PATH`, `DYLD_LIBRARY_PATH`: passed to PostgreSQL's programs, which get no others.

use std::ffi::OsString;

/// Returns the variable's value, unless it is unset or empty.
#[expect(clippy::disallowed_methods, reason = "none of these configures a function")]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
