//! `cargo seer psql`: opens the database of `cargo local` in psql.
//!
//! Depends on: the files `port` and `password` that `cargo local` keeps in the target folder.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Error, Result};
use clap::Args;
use local::postgres::Binaries;

use crate::product;

/// Opens the database of `cargo local`, while that runs, in psql
#[derive(Args)]
pub(crate) struct Arguments {
    /// Arguments for psql, such as -c 'SELECT 1'
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    rest: Vec<OsString>,
}

/// Where `cargo local` serves its own database.
pub(crate) struct Own {
    pub(crate) port: u16,
    pub(crate) password: String,
}

impl Own {
    /// Reads it from the target folder.
    ///
    /// # Errors
    /// Fails with what to do if the database was never created, or does not run.
    pub(crate) fn running(target: &Path) -> Result<Self> {
        let folder = target.join("local/postgres");
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name))
                .map(|text| text.trim().to_owned())
                .context("`cargo local` has made no database yet: start it first")
        };
        let port = read("port")?.parse().context("the file with its port is damaged")?;
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("the database of `cargo local` does not run at port {port}: start it first"))?;
        Ok(Self {
            port,
            password: read("password")?,
        })
    }

    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://seer:{}@127.0.0.1:{}/seer", self.password, self.port)
    }
}

/// Replaces this process with psql. Returns only if that fails.
pub(crate) async fn run(arguments: &Arguments) -> Error {
    match command(arguments).await {
        Ok(mut command) => {
            Error::new(command.exec()).context("psql cannot be run: install PostgreSQL's client programs")
        }
        Err(error) => error,
    }
}

async fn command(arguments: &Arguments) -> Result<Command> {
    let own = Own::running(&product::checkout().await?.target)?;
    let beside = Binaries::find().await?.folder().join("psql");
    let program = if beside.exists() { beside } else { "psql".into() };
    let mut command = Command::new(program);
    command
        .args(["-h", "127.0.0.1", "-U", "seer", "-d", "seer", "-p"])
        .arg(own.port.to_string())
        .args(&arguments.rest)
        // Other users of the machine can see arguments.
        .env("PGPASSWORD", own.password);
    Ok(command)
}
