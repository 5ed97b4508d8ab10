//! The contract of a function, a TOML file: its configuration, and how to count its writes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Deserialize;

/// A contract. All its fields are optional, because a function that only reads needs none.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Contract {
    /// The function's timeout in seconds.
    timeout: u64,
    /// Its environment variables, in addition to `DATABASE_URL`.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) write: Option<Write>,
}

/// How to determine the outcome of a write.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    /// A query that counts the rows that the request with `{{id}}` inserted.
    pub(super) count: String,
    /// Statuses that acknowledge the write.
    pub(super) applied: Vec<u16>,
    /// Statuses that guarantee that nothing was written.
    #[serde(default)]
    pub(super) refused: Vec<u16>,
    /// A text in the body of an answer that leaves the outcome open, with any status.
    pub(super) unknown: Option<String>,
    /// A part of the SQL of the write. If it is empty, faults of writes apply to any statement.
    #[serde(default)]
    pub(super) statement: String,
    /// Whether clients repeat a request that was not acknowledged, with the same id.
    #[serde(default)]
    pub(super) repeat: bool,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            timeout: 10,
            environment: BTreeMap::new(),
            write: None,
        }
    }
}

impl Contract {
    /// Parses a contract.
    ///
    /// # Errors
    /// A field is missing or unknown. The message is one line, because the parser's own has several.
    pub(super) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| anyhow!("{}", error.message()))
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
