//! The environment variables that decide where PostgreSQL comes from; the functions' own are `shared::config`'s.
//!
//! - `PG_BIN`: the folder with PostgreSQL's programs, before any that are installed.
//! - `XDG_CACHE_HOME`, else `HOME`: where the cache folder is.
//! - `PATH`, `LD_LIBRARY_PATH`, `DYLD_LIBRARY_PATH`: handed on to PostgreSQL's programs, which get no others.

use std::ffi::OsString;

/// The variable's value, unless it is unset or empty.
#[expect(clippy::disallowed_methods, reason = "none of these configures a function")]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
