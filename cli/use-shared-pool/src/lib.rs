//! Moves code that opens its own PostgreSQL connections to the pool of `shared`: `cargo seer use-shared-pool`.
//!
//! | file | purpose |
//! |---|---|
//! | [`tree`], [`declared`] | the files, their modules, and which of them change together |
//! | [`package`] | `Cargo.toml` |
//! | [`names`] | name resolution |
//! | [`macros`] | macros whose contents can be parsed |
//! | [`inventory`], [`carriers`] | fields, functions, statics; variables and expressions that carry a pool |
//! | [`statics`] | statics that can be removed |
//! | [`sites`], [`source`] | code that opens connections, and the database it uses |
//! | [`moves`], [`found`] | replacements, and reasons against a move |
//! | [`imports`], [`tidy`] | imports; code that is left unused |
//! | [`edit`] | replacing pieces of a text |
//!
//! Works on syntax trees, and changes the text at their positions, so that comments and formatting stay. Invariants:
//! never runs cargo on the code, never connects anywhere, and never changes a file whose unit cannot be moved as a
//! whole. `docs/USE_SHARED_POOL.md` lists the replacements.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the syntax of Rust, of which this command knows a part"
)]

mod carriers;
mod declared;
mod edit;
mod file;
mod found;
mod imports;
mod inventory;
mod macros;
mod moves;
mod names;
mod package;
mod sites;
mod source;
mod statics;
mod tidy;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use similar::TextDiff;

use file::File;
use found::{Found, Remark};
use inventory::Inventory;
use names::Kind;
use tree::Tree;

/// Moves Rust code that opens its own PostgreSQL connections to the shared pool.
///
/// Without --write nothing is changed: a diff is printed, and the exit code is 1 if there is something to move. Code
/// that cannot be moved is listed with the reason. Exit codes: 0 nothing to do or done, 1 something to move, 2 an
/// error, such as a file that cannot be parsed.
#[derive(Args)]
pub struct Arguments {
    /// Files and folders to look through [default: the working directory]
    paths: Vec<PathBuf>,
    /// Print what would change; this is the default
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Change the files
    #[arg(long)]
    write: bool,
}

/// A file with its old and new text.
struct Change {
    path: PathBuf,
    before: String,
    after: String,
}

/// The results of examining all files.
#[derive(Default)]
struct Report {
    changes: Vec<Change>,
    /// Messages for the reader, by file and line.
    remarks: BTreeSet<(PathBuf, usize, String)>,
    errors: Vec<String>,
}

/// Examines the paths, prints the results, and changes the files if requested. `checkout` finds the folder with
/// `shared` in it, which is asked for only if a package does not depend on it yet.
pub async fn run(arguments: &Arguments, checkout: impl AsyncFn() -> Result<PathBuf>) -> ExitCode {
    let here = [PathBuf::from(".")];
    let paths = if arguments.paths.is_empty() {
        &here[..]
    } else {
        &arguments.paths
    };
    match moved(paths, checkout).await {
        Ok(report) => finish(report, arguments.write),
        Err(error) => {
            let _ = print(std::io::stderr().lock(), &format!("error: {error:#}\n"));
            ExitCode::from(2)
        }
    }
}

async fn moved(paths: &[PathBuf], checkout: impl AsyncFn() -> Result<PathBuf>) -> Result<Report> {
    let tree = tree::read(paths)?;
    let mut units: BTreeMap<usize, Vec<&File>> = BTreeMap::new();
    for file in &tree.files {
        units.entry(file.unit).or_default().push(file);
    }
    let mut report = Report::default();
    let mut packages: BTreeMap<usize, bool> = BTreeMap::new();
    for files in units.values().filter(|files| files.iter().any(|file| file.asked)) {
        unit(&tree, files, &mut report, &mut packages);
    }
    for (package, only_tests) in packages {
        let package = &tree.packages[package];
        let needed = match package.dependency(only_tests, None) {
            Ok(needed) => needed,
            // Only then is the path of `shared` looked up.
            Err(_) => match checkout().await {
                Ok(checkout) => package.dependency(only_tests, Some(&checkout))?,
                Err(error) => {
                    return Err(error.context(format!("{} needs the crate `shared`", package.manifest.display())));
                }
            },
        };
        if let Some(needed) = needed {
            report.changes.push(Change {
                path: shown(&package.manifest),
                before: needed.before,
                after: needed.after,
            });
        }
    }
    report.changes.sort_by(|one, other| one.path.cmp(&other.path));
    report.errors = tree.unreadable;
    Ok(report)
}

/// Examines files that change together.
fn unit(tree: &Tree, files: &[&File], report: &mut Report, packages: &mut BTreeMap<usize, bool>) {
    let mut inventory = Inventory::default();
    files.iter().for_each(|file| inventory.read(&tree.names, file));
    let going = statics::replaceable(&tree.names, &inventory, files);
    let staying: Vec<_> = inventory
        .statics
        .keys()
        .filter(|path| !going.contains(*path))
        .cloned()
        .collect();
    for path in staying {
        inventory.statics.remove(&path);
        inventory.others.insert(path, Kind::Pool);
    }
    let look = |file: &File| {
        let unfit = tree.packages[file.package].unfit();
        moves::look(&tree.names, &inventory, unfit.as_deref(), file)
    };
    let mut found: Vec<(&File, Found)> = files.iter().map(|file| (*file, look(file))).collect();
    found::together(&mut found);
    let mut say = |file: &File, remark: &Remark, text: String| {
        report.remarks.insert((file.path.clone(), remark.line, text));
    };
    for (file, found) in &found {
        for left in &found.left {
            say(file, left, format!("not moved: {}", left.text));
        }
    }
    let opens = found.iter().any(|(_, found)| !found.sites.is_empty());
    if !opens {
        return;
    }
    let blocked = found.iter().any(|(_, found)| !found.blockers.is_empty());
    for (file, found) in &found {
        let remarks = if blocked { &found.sites } else { &found.notes };
        for remark in remarks {
            let text = if blocked {
                format!("not moved: {}", remark.text)
            } else {
                format!("note: {}", remark.text)
            };
            say(file, remark, text);
        }
        for blocker in &found.blockers {
            say(file, blocker, format!("in the way: {}", blocker.text));
        }
    }
    if blocked {
        return;
    }
    for (file, found) in found {
        match rewritten(tree, &inventory, file, found) {
            Ok(after) if after == file.text => {}
            Ok(after) => {
                let tests = packages.entry(file.package).or_insert(true);
                *tests &= tree.packages[file.package].only_tests(&file.path);
                report.changes.push(Change {
                    path: file.path.clone(),
                    before: file.text.clone(),
                    after,
                });
            }
            Err(error) => report
                .errors
                .push(format!("{}: cannot be moved: {error}", file.path.display())),
        }
    }
}

fn rewritten(tree: &Tree, inventory: &Inventory, file: &File, found: Found) -> Result<String> {
    let Found { mut edits, needs, .. } = found;
    if edits.is_empty() && !imports::concerned(&tree.names, inventory, file) {
        return Ok(file.text.clone());
    }
    edits.extend(imports::edits(&tree.names, inventory, file, &needs));
    let after = edit::apply(&file.text, &edits);
    let (head, body) = after.split_at(file.offset);
    Ok(format!("{head}{}", tidy::tidy(&file.ast, body)?))
}

/// Prints the results and writes the changes if requested.
fn finish(report: Report, write: bool) -> ExitCode {
    let Report {
        changes,
        remarks,
        mut errors,
    } = report;
    let out = if write {
        written(&changes, &mut errors)
    } else {
        changes.iter().map(difference).collect()
    };
    let mut said = String::new();
    for (path, line, text) in remarks {
        said.push_str(&format!("{}:{line}: {text}\n", path.display()));
    }
    let sources = changes
        .iter()
        .filter(|change| change.path.extension().is_some_and(|extension| extension == "rs"));
    let sources = sources.count();
    let summary = match (sources, write) {
        (0, _) => "nothing to move\n".to_owned(),
        (_, true) => String::new(),
        (1, false) => "1 file to move: `--write` does it\n".to_owned(),
        (many, false) => format!("{many} files to move: `--write` does it\n"),
    };
    // A reader that closes the pipe early, for example `head`, is no failure.
    if let Err(error) = print(std::io::stdout().lock(), &out) {
        errors.push(format!("cannot print: {error}"));
    }
    for error in &errors {
        said.push_str(&format!("error: {error}\n"));
    }
    said.push_str(&summary);
    // If errors cannot be printed, there is no other way to report them.
    let _ = print(std::io::stderr().lock(), &said);
    if !errors.is_empty() {
        ExitCode::from(2)
    } else if sources > 0 && !write {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

fn print(mut to: impl std::io::Write, text: &str) -> std::io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Changes the files, and lists them. All are prepared first: if one folder cannot be written to, nothing is changed.
fn written(changes: &[Change], errors: &mut Vec<String>) -> String {
    let mut ready = Vec::new();
    for change in changes {
        match edit::prepare(&change.path, &change.after) {
            Ok(new) => ready.push((change, new)),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    if ready.len() < changes.len() {
        errors.push("no file was changed".to_owned());
        return String::new();
    }
    let mut said = String::new();
    for (change, new) in ready {
        match new.put() {
            Ok(()) => said.push_str(&format!("changed {}\n", change.path.display())),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    said
}

fn difference(change: &Change) -> String {
    let path = change.path.to_string_lossy();
    let path = path.trim_start_matches('/');
    let diff = TextDiff::from_lines(&change.before, &change.after);
    let (old, new) = (format!("a/{path}"), format!("b/{path}"));
    diff.unified_diff().header(&old, &new).to_string()
}

/// Returns a path relative to the working directory.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).map(Path::to_path_buf).ok());
    below.unwrap_or_else(|| path.to_path_buf())
}

#[cfg(test)]
mod fuzz;
