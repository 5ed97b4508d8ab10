//! `cargo seer openapi`: describes the routes for clients, from the types of the functions.
//!
//! Depends on: `functions::openapi` for the whole content. Invariants: writes nothing but `openapi.json`.

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::checkout::Checkout;

/// Prints openapi.json as the code defines it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write it to openapi.json at the root of the checkout
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Compare it with openapi.json at the root of the checkout
    #[arg(long)]
    check: bool,
    /// The version of OpenAPI to print it in; the file has 3.1
    #[arg(long, value_enum, default_value = "3.1", conflicts_with_all = ["write", "check"])]
    version: Version,
}

/// A version of OpenAPI.
#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "3.1")]
    Current,
    #[value(name = "3.0")]
    Older,
}

/// Prints, writes or compares the document.
///
/// # Errors
/// Fails with one line if there is no checkout, the file cannot be written, or with --check differs from the code.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let document = match arguments.version {
        Version::Current => functions::openapi::document(),
        Version::Older => functions::openapi::downgraded(functions::openapi::document()),
    };
    let document = serde_json::to_string_pretty(&document)? + "\n";
    if !arguments.write && !arguments.check {
        outln!("{}", document.trim_end());
        return Ok(());
    }
    let file = Checkout::here().await?.root.join("openapi.json");
    let shown = file.display();
    if arguments.write {
        // A missing or unreadable file is written again.
        if std::fs::read_to_string(&file).is_ok_and(|text| text == document) {
            outln!("nothing to do: openapi.json is what the code says");
        } else {
            std::fs::write(&file, document).with_context(|| format!("cannot write {shown}"))?;
            outln!("written: {shown}");
        }
    } else if std::fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))? != document {
        bail!("openapi.json is not what the code says: run cargo seer openapi --write");
    }
    Ok(())
}
