//! `cargo seer routes`: everything about a route that follows from its file.
//!
//! | file | holds |
//! |---|---|
//! | [`source`] | reading the route files |
//! | [`part`] | a file with a generated part, compared with the route files |
//! | [`manifest`], [`module`], [`readme`], [`template`] | those parts: router, binaries, modules, route table, functions |
//! | [`event`] | the example events |
//!
//! Invariants: never changes a route file, an existing event, or a file outside of its generated part. Depends on
//! `functions::openapi` for the meaning of a route file's documentation.

mod event;
mod manifest;
mod module;
mod part;
mod readme;
mod source;
mod template;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::checkout::Checkout;
use part::Part;
use source::Sources;

/// Where the route files are.
const FOLDER: &str = "functions/src/bin";

/// Generates from the route files: router, binaries, modules, events, functions of the template, table of the README
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Arguments {
    /// Write it
    #[arg(long)]
    write: bool,
    /// Name every difference, and fail if there is one
    #[arg(long)]
    check: bool,
}

/// Makes a part of a file's text.
type Maker = fn(&str, &Sources) -> Result<Part>;

/// Each file that is made in part, and its maker.
const PARTS: [(&str, Maker); 5] = [
    ("Cargo.toml", manifest::router),
    ("functions/Cargo.toml", manifest::binaries),
    ("functions/src/openapi/routes.rs", module::modules),
    ("README.md", readme::table),
    ("template.yaml", template::functions),
];

/// Writes or compares.
///
/// # Errors
/// No checkout here, a route file that does not describe its route, a file without the part's place; with `--check` any
/// difference. One line; the differences are printed before it.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let root = Checkout::here().await?.root;
    let sources = Sources::read(&root.join(FOLDER))?;
    let mut stale = Vec::new();
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for (name, make) in PARTS {
        let file = root.join(name);
        let text = read(&file)?;
        let part = make(&text, &sources).with_context(|| format!("cannot read {name}"))?;
        if part.text != text {
            stale.extend(part.differences(name));
            files.push((file, part.text));
        }
    }
    let events = event::compare(&root, &sources.routes)?;
    for (name, text) in events.missing {
        stale.push(format!("{name} is missing"));
        files.push((root.join(name), text));
    }
    let by_hand = events.wrong;

    if arguments.write {
        for (file, text) in &files {
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
            outln!("written: {}", file.display());
        }
        if files.is_empty() {
            outln!("nothing to do: everything is what the route files say");
        }
        by_hand.iter().for_each(|left| outln!("by hand: {left}"));
        return Ok(());
    }
    stale
        .iter()
        .chain(&by_hand)
        .for_each(|difference| outln!("{difference}"));
    if !stale.is_empty() {
        bail!("not everything is what the route files say: run cargo seer routes --write");
    }
    if !by_hand.is_empty() {
        bail!("not everything is what the route files say, and the rest is to be changed by hand");
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
