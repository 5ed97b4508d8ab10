//! Mutated sources: nothing panics, a changed file parses, a second run changes nothing, and other files keep their
//! bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use fastrand::Rng;
use local::mutation;

use super::tree::parse;
use super::*;

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/use_shared_pool");

/// With everything that a move needs, so that it changes nothing but the source.
const MANIFEST: &str = "[package]\nname = \"mutated\"\n\n[dependencies]\nshared = { path = \"x\" }\nsqlx = \"0.9\"\n";

/// Replacements for pieces of a source: marks of the syntax, and code that refers to itself.
const MARKS: [&str; 34] = [
    "/* é */",
    "// \u{1F600}\n",
    "/// é\n",
    "\u{feff}",
    "\r",
    "\0",
    "{",
    "}",
    "(",
    ")",
    "<",
    ">",
    ";",
    ",",
    "::",
    "&",
    "*",
    "?",
    "_",
    "=>",
    ".await",
    "async ",
    "self",
    "r#type",
    "'a",
    "\"é\"",
    "r#\"\"#",
    "#[cfg(test)] ",
    "use super::*;",
    "use crate::*;",
    "type Pool = Pool;",
    "type PgPool = crate::PgPool;",
    "mod inner { use super::*; }",
    "use sqlx::{self as db, PgPool};",
];

/// Returns the programs that the tests of the command move, and those that it leaves alone.
fn programs() -> Vec<String> {
    let mut folders = vec![Path::new(PROGRAMS).join("moves"), Path::new(PROGRAMS).join("stays")];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                paths.push(path);
            }
        }
    }
    // The order of a folder's files is not the same everywhere, and a case chooses by number.
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn mutated(case: u64, programs: &[String]) -> String {
    let mut random = Rng::with_seed(case);
    let split = if random.bool() {
        mutation::words
    } else {
        mutation::lines
    };
    let mut text = mutation::mutated_pieces(&mut random, programs, split, &MARKS);
    if random.u8(..4) == 0 {
        let other = &programs[random.usize(..programs.len())];
        text = format!("{text}\nmod another {{\n{other}\n}}\n");
    }
    match random.u8(..10) {
        0 => text.replace('\n', "\r\n"),
        1 => format!("\u{feff}{text}"),
        2 => format!("#!/usr/bin/env run-cargo-script\n{text}"),
        3 => text[..text.floor_char_boundary(random.usize(..=text.len()))].to_owned(),
        4 => {
            let pieces = mutation::words(&text).into_iter();
            let commented = pieces.map(|piece| match piece.trim() {
                "" => format!("{piece}/* é */"),
                _ => piece.to_owned(),
            });
            commented.collect()
        }
        _ => text,
    }
}

/// Moves a package with this source, twice. Returns the source as it is then; `None` if it cannot be parsed.
async fn moved_twice(folder: &Path, source: &str) -> Option<String> {
    let path = folder.join("src/main.rs");
    fs::write(&path, source).unwrap();
    let paths = [folder.to_path_buf()];
    let run = async || {
        let report = moved(&paths, async || Ok(PathBuf::from("unused"))).await.unwrap();
        let mut errors = report.errors;
        let written = written(&report.changes, &mut errors);
        (written, errors, fs::read_to_string(&path).unwrap())
    };
    let parses = parse(&path).is_ok();
    let (_, errors, after) = run().await;
    assert_eq!(errors.is_empty(), parses, "{errors:?}");
    if !parses {
        assert_eq!(after, source, "a file that cannot be parsed is changed");
        return None;
    }
    if let Err(error) = parse(&path) {
        panic!("{error}: the result does not parse:\n{after}");
    }
    let all_windows = |text: &str| text.matches('\n').count() == text.matches("\r\n").count();
    assert!(
        !all_windows(source) || all_windows(&after),
        "its ends of lines are mixed now"
    );
    assert_eq!(source.starts_with('\u{feff}'), after.starts_with('\u{feff}'));
    let (written, errors, again) = run().await;
    assert_eq!(again, after, "a second run has changed something: {written}");
    assert!(errors.is_empty(), "{errors:?}");
    Some(after)
}

fn package() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("Cargo.toml"), MANIFEST).unwrap();
    folder
}

/// Shows the case that fails.
struct Case<'a>(u64, &'a str);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("case {}:\n{}", self.0, self.1);
        }
    }
}

#[tokio::test]
async fn mutated_sources_stay_sources() {
    let folder = package();
    let programs = programs();
    let (mut parsed, mut changed) = (0, 0);
    let cases = mutation::cases(1_000);
    for case in 0..cases {
        let source = mutated(case, &programs);
        let _case = Case(case, &source);
        if let Some(after) = moved_twice(folder.path(), &source).await {
            parsed += 1;
            changed += u64::from(after != source);
        }
    }
    eprintln!("{cases} sources: {parsed} parsed, {changed} changed");
    assert!(
        parsed > cases / 20 && changed > cases / 100,
        "most mutations are of no use"
    );
}

#[tokio::test]
async fn alias_of_itself_is_no_pool() {
    let folder = package();
    for source in [
        "type Pool = Pool;\nfn f(_: &Pool) {}\n",
        "type A = B;\ntype B = A;\nstatic S: A = x();\n",
        // This is valid: the alias is the function's own.
        "struct Pool;\nfn f() {\n    type Pool = crate::Pool;\n    let _: Pool;\n}\n",
    ] {
        assert_eq!(moved_twice(folder.path(), source).await.as_deref(), Some(source));
    }
}

/// The ways from a name through these globs are more than can be followed one by one.
#[tokio::test]
async fn globs_in_circles_end() {
    let folder = package();
    let modules = (0..8).map(|number| {
        format!("pub mod m{number} {{\n    use super::*;\n    use crate::prelude::*;\n    fn f(_: &Unknown) {{}}\n}}\npub use m{number}::*;\n")
    });
    let source = modules.collect::<String>() + "mod prelude {\n    pub use super::*;\n}\n";
    assert_eq!(moved_twice(folder.path(), &source).await, Some(source));
}

#[tokio::test]
async fn second_byte_order_mark_is_an_error() {
    let folder = package();
    for marks in ["\u{feff}\u{feff}", "\u{feff}\u{feff}\u{feff}"] {
        let source =
            format!("{marks}use sqlx::PgPool;\nasync fn f() {{\n    let _ = PgPool::connect(\"é\").await;\n}}\n");
        assert_eq!(moved_twice(folder.path(), &source).await, None);
    }
}

/// A raw name loses its `r#` with the underscore, because `_r#type` is no name.
#[tokio::test]
async fn raw_name_without_use_gets_an_underscore() {
    let folder = package();
    let source = "async fn f(r#type: &str) {\n    let _ = sqlx::PgPool::connect(r#type).await.unwrap();\n}\n";
    let after = moved_twice(folder.path(), source).await.unwrap();
    assert!(after.starts_with("async fn f(_type: &str)"), "{after}");
}

#[tokio::test]
async fn renamed_self_keeps_its_braces() {
    let folder = package();
    let source = "use sqlx::{self as db, PgPool};\n\nasync fn f() -> db::Result<PgPool> {\n    \
                  PgPool::connect(\"postgres://localhost/x\").await\n}\n";
    let after = moved_twice(folder.path(), source).await.unwrap();
    assert!(after.contains("use sqlx::{self as db};"), "{after}");
}
