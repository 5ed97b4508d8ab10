//! Any Lambda function under the catalogue's faults: a program that implements the Runtime API and reads `DATABASE_URL`.
//!
//! Invariants: this module knows only the function's events, its answers to them without a fault, and the contract that
//! defines how to count its writes.
//! Depends on: the testbed, the faults and the history of this crate; never on the product's clients or tables.

mod client;
mod contract;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use local::lambda::Function;
use serde_json::Value;

use crate::catalogue::{Size, for_function};
use crate::scenario::Scenario;

pub(crate) use client::Client;
use contract::{Contract, Write};
pub(crate) use verdict::judge;

/// The placeholder for a unique id, in events and in the SQL of the contract. An event that has it is a write.
const ID: &str = "{{id}}";

/// A function with its events, schema and contract.
#[derive(Clone, Debug)]
pub struct AnyFunction {
    program: PathBuf,
    events: Vec<Event>,
    /// SQL that runs before the function starts.
    pub(crate) schema: String,
    contract: Contract,
}

#[derive(Clone, Debug)]
struct Event {
    file: String,
    text: String,
}

impl Event {
    fn is_write(&self) -> bool {
        self.text.contains(ID)
    }

    fn with(&self, id: &str) -> Vec<u8> {
        self.text.replace(ID, id).into_bytes()
    }
}

impl AnyFunction {
    /// Reads the files that describe the function.
    ///
    /// # Errors
    /// A file cannot be read or parsed, or there is a write without a contract that counts it, or the reverse.
    pub fn read(program: &Path, events: &[PathBuf], schema: &[PathBuf], contract: Option<&Path>) -> Result<Self> {
        let program = program
            .canonicalize()
            .with_context(|| format!("there is no function {}", program.display()))?;
        let events = events.iter().map(|path| event(path)).collect::<Result<Vec<_>>>()?;
        let schema = schema.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?;
        let contract = match contract {
            Some(path) => Contract::parse(&text(path)?).with_context(|| format!("cannot read {}", path.display()))?,
            None => Contract::default(),
        };
        ensure!(!events.is_empty(), "the function needs an event");
        let writes = events.iter().find(|event| event.is_write());
        match (writes, &contract.write) {
            (Some(event), None) => {
                ensure!(
                    false,
                    "{} writes ({ID}): a contract with [write] has to say how to count it",
                    event.file
                );
            }
            (None, Some(_)) => ensure!(false, "the contract counts writes, and no event has {ID}"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(Self {
            program,
            events,
            schema: schema.join("\n;\n"),
            contract,
        })
    }

    /// Returns the function's scenarios: those of reads, and those of writes if it writes.
    pub fn scenarios(&self, size: Size) -> Vec<Scenario> {
        // Leaked, because faults are `Copy`; once per function, so it does not add up.
        let statement = self
            .contract
            .write
            .as_ref()
            .map(|write| &*write.statement.clone().leak());
        for_function(size, statement)
    }

    /// Returns the function's name, which is its program's.
    pub(crate) fn name(&self) -> String {
        let name = self.program.file_stem().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Returns the contract for an event, if the event is a write.
    fn write(&self, event: usize) -> Option<&Write> {
        self.contract.write.as_ref().filter(|_| self.events[event].is_write())
    }

    /// Returns the function's Lambda configuration.
    pub(crate) fn configured(&self) -> Function {
        #[expect(clippy::disallowed_methods, reason = "for a program that has an interpreter")]
        let path = std::env::var("PATH").unwrap_or_default();
        let mut function = Function::new(self.name(), &self.program);
        function.timeout = self.contract.timeout();
        function.env = vec![("PATH".to_owned(), path)];
        let configured = self.contract.environment.iter();
        function
            .env
            .extend(configured.map(|(name, value)| (name.clone(), value.clone())));
        function
    }
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn event(path: &Path) -> Result<Event> {
    let event = Event {
        file: path.display().to_string(),
        text: text(path)?,
    };
    serde_json::from_slice::<Value>(&event.with("id")).with_context(|| format!("{} is not JSON", event.file))?;
    Ok(event)
}
