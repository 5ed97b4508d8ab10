//! Tests the move as developers run it: the real command on whole programs, compiled before and after.
//!
//! `moves/` has a program or a test for each shape that is moved, `stays/` those that are found and left, or not found.
//! They are targets of one crate, created in the build folder, with the versions of this workspace's lock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/use_shared_pool");

/// The programs' dependencies; those that the workspace has too use the versions of its lock.
const MANIFEST: &str = r#"[package]
name = "corpus"
version = "0.1.0"
edition = "2024"

[workspace]

[dependencies]
anyhow = "1"
axum = { version = "0.8", default-features = false, features = ["http1", "tokio"] }
deadpool-postgres = { version = "=0.14.2", default-features = false, features = ["rt_tokio_1"] }
futures-util = { version = "0.3", default-features = false, features = ["std"] }
lambda_http = { version = "1.3", default-features = false, features = ["apigw_http", "pass_through"] }
lazy_static = "1"
once_cell = "1"
sqlx = { version = "0.9", default-features = false, features = ["runtime-tokio", "tls-rustls-ring-webpki", "postgres", "macros", "migrate", "uuid", "chrono", "json"] }
thiserror = "2"
tokio = { version = "1", default-features = false, features = ["rt-multi-thread", "macros", "time", "net", "signal", "sync"] }
tokio-postgres = "=0.7.18"

[profile.dev]
debug = false
incremental = false
"#;

/// A crate for one test, under the build folder.
struct Crate(PathBuf);

impl Crate {
    fn new(name: &str, manifest: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("use-shared-pool")
            .join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("src")).unwrap();
        let made = Self(root);
        made.put("Cargo.toml", manifest);
        made
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    /// Returns all files, by path.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("Cargo.lock") {
                    let name = path.strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn command(&self, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seer"));
        command.arg("use-shared-pool").arg(self.0.join(path)).args(arguments);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    fn seer(&self, arguments: &[&str]) -> Output {
        self.seer_at("", arguments)
    }

    /// Runs the command only for `path`.
    fn seer_at(&self, path: &str, arguments: &[&str]) -> Output {
        self.command(path, arguments).output().unwrap()
    }

    /// Returns cargo's messages about the crate: empty if it compiles without warnings.
    fn check(&self) -> String {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "check",
            "--quiet",
            "--keep-going",
            "--bins",
            "--test",
            "inner_tests",
            "--message-format=short",
        ]);
        // A separate target folder, because the surrounding one is locked.
        cargo.env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("use-shared-pool/build"),
        );
        let output = cargo.current_dir(&self.0).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Creates the crate with every program.
fn corpus(name: &str) -> Crate {
    let made = Crate::new(name, MANIFEST);
    copy(&Path::new(HERE).join("moves"), &made.0.join("src/bin"));
    copy(&Path::new(HERE).join("stays"), &made.0.join("src/bin"));
    fs::create_dir_all(made.0.join("tests")).unwrap();
    fs::rename(
        made.0.join("src/bin/inner_tests.rs"),
        made.0.join("tests/inner_tests.rs"),
    )
    .unwrap();
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, made.0.join("Cargo.lock")).unwrap();
    made
}

fn names(folder: &str) -> Vec<String> {
    let all = fs::read_dir(Path::new(HERE).join(folder)).unwrap();
    let mut names: Vec<_> = all
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the line comments, except for documentation.
fn comments(source: &str) -> Vec<&str> {
    let found = source.lines().filter_map(|line| line.split_once("// "));
    found
        .filter(|(before, _)| !before.ends_with('/') && !before.contains('"'))
        .map(|(_, comment)| comment.trim())
        .collect()
}

#[test]
fn moves_compile_and_are_idempotent() {
    assert!(names("moves").len() >= 25);
    let corpus = corpus("corpus");
    let before = corpus.files();
    corpus.check();

    let look = corpus.seer(&[]);
    assert_eq!(look.status.code(), Some(1), "{look:?}");
    assert_eq!(corpus.files(), before, "a look has changed something");
    assert_eq!(corpus.seer(&["--check"]).stdout, look.stdout);

    let moved = corpus.seer(&["--write"]);
    assert_eq!(moved.status.code(), Some(0), "{moved:?}");
    corpus.put("src/bin/by_hand.rs", include_str!("by_hand.rs"));
    let after = corpus.files();
    // One module of a service that needs no change causes a warning: a setting that is no longer read.
    let said = corpus.check();
    let other: Vec<_> = said
        .lines()
        .filter(|line| line.contains(": warning: ") && !line.contains("are never read"))
        .collect();
    assert!(other.is_empty(), "{other:#?}");

    for name in names("stays") {
        let path = format!("src/bin/{name}");
        let mut files = before.keys().filter(|file| file.starts_with(&path)).peekable();
        assert!(files.peek().is_some(), "{path}");
        for file in files {
            assert_eq!(after[file], before[file], "{file}");
        }
    }
    for name in names("moves").iter().filter(|name| name.ends_with(".rs")) {
        let path = if name == "inner_tests.rs" {
            format!("tests/{name}")
        } else {
            format!("src/bin/{name}")
        };
        let (old, new) = (text(&before[&path]), text(&after[&path]));
        assert!(new.contains("SharedPool"), "{path} is not moved");
        for gone in ["PgPool", "PgConnection", "Pool::connect", "Pool<Postgres>"] {
            let left = new.lines().find(|line| line.contains(gone));
            assert_eq!(left, None, "{path}");
        }
        for comment in comments(&old).iter().filter(|comment| !comment.ends_with("(goes)")) {
            assert!(new.contains(comment), "{path} has lost: {comment}");
        }
    }

    let again = corpus.seer(&[]);
    assert_eq!((again.status.code(), again.stdout.len()), (Some(0), 0), "{again:?}");
    corpus.seer(&["--write"]);
    assert_eq!(corpus.files(), after, "the second run has changed something");
}

#[test]
fn leftovers_list_line_and_reason() {
    let corpus = corpus("left");
    let said = text(&corpus.seer(&[]).stderr);
    let expected = [
        ("any_database.rs:6: in the way: ", "`Pool<DB>`"),
        ("anyone.rs:3: in the way: ", "`Acquire`"),
        ("deadpool.rs:6: not moved: ", "deadpool-postgres"),
        ("formatted.rs:8: in the way: ", "ANALYTICS_HOST"),
        ("fresh_database.rs:9: in the way: ", "`database` chooses another"),
        ("given_away.rs:6: in the way: ", "type_name_of_val"),
        ("hooks.rs:7: in the way: ", "`after_connect`"),
        ("included/half.rs:1: in the way: ", "`include!`"),
        ("in_a_macro.rs:7: in the way: ", "inside `select!`"),
        ("listener.rs:6: in the way: ", "PgListener"),
        ("meant.rs:6: in the way: ", "an attribute"),
        ("migrations.rs:7: in the way: ", "cargo seer migrate"),
        ("other_database.rs:6: in the way: ", "ANALYTICS_URL"),
        ("passed_on.rs:7: in the way: ", "passed on as a function"),
        ("savepoint.rs:7: in the way: ", "`begin`"),
        (
            "several_databases.rs:11: in the way: ",
            "`analytics_url`, `primary_url`",
        ),
        ("several_databases.rs:12: in the way: ", "more than one database"),
        ("size.rs:6: in the way: ", "`num_idle`"),
        ("tokio_postgres.rs:5: not moved: ", "tokio-postgres"),
        ("tokio_postgres_parsed.rs:5: not moved: ", "`Config`"),
        ("tokio_postgres_parsed.rs:9: not moved: ", "`tokio_postgres::Config`"),
        (
            "two_of_one_name.rs:22: in the way: ",
            "`pool` is the name of a pool and of something else",
        ),
    ];
    for (place, reason) in expected {
        let found = said.lines().any(|line| line.contains(place) && line.contains(reason));
        assert!(found, "{place}…{reason}\n{said}");
    }
    for silent in ["borrower.rs", "mentions.rs"] {
        assert!(!said.contains(silent), "{said}");
    }
}

#[test]
fn move_is_the_smallest_edit() {
    let corpus = corpus("small");
    corpus.seer(&["--write"]);
    let moved = "//! A script: one pool, opened first thing.\n\
                 \n\
                 use shared::SharedPool;\n\
                 use sqlx::Row;\n\
                 \n\
                 #[tokio::main]\n\
                 async fn main() -> anyhow::Result<()> {\n    \
                     // One pool for the whole run.\n    \
                     let pool = SharedPool;\n\
                 \n    \
                     let row = sqlx::query(\"SELECT count(*) AS n FROM meetings\").fetch_one(&pool).await?;\n    \
                     println!(\"{} meetings\", row.try_get::<i64, _>(\"n\")?);\n    \
                     Ok(())\n\
                 }\n";
    assert_eq!(corpus.get("src/bin/connect.rs"), moved);
    let windows = corpus.get("src/bin/windows.rs");
    assert!(
        windows.starts_with("\u{feff}#!/usr/bin/env run-cargo-script\r\nuse shared::SharedPool;\r\n"),
        "{windows:?}"
    );
    assert_eq!(windows.matches('\n').count(), windows.matches("\r\n").count());
    let other = corpus.get("src/bin/other_close.rs");
    assert_eq!(other.matches("self.pool.close().await;").count(), 1, "{other}");
    let manifest = corpus.get("Cargo.toml");
    assert_eq!(
        manifest
            .lines()
            .filter(|line| line.starts_with("shared = { path = "))
            .count(),
        1,
        "{manifest}"
    );
}

const SMALL: &str = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                     [dependencies]\nsqlx = \"0.9\"\n";

const OPENS: &str = "use sqlx::PgPool;\n\npub async fn open() -> sqlx::Result<PgPool> {\n    \
                     PgPool::connect(\"postgres://localhost/x\").await\n}\n";

#[test]
fn unparsable_file_is_named_and_skipped() {
    let small = Crate::new("broken", SMALL);
    small.put("src/lib.rs", OPENS);
    small.put("examples/broken.rs", "fn main() {\n    let pool = = PgPool;\n}\n");
    let output = small.seer(&["--write"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("examples/broken.rs:2: cannot be parsed"), "{said}");
    assert!(small.get("src/lib.rs").contains("SharedPool"));
}

#[test]
fn one_file_moves_its_whole_target() {
    let small = Crate::new("one", SMALL);
    small.put(
        "src/lib.rs",
        "mod open;\n\npub struct State {\n    pub pool: sqlx::PgPool,\n}\n",
    );
    small.put("src/open.rs", OPENS);
    small.put("tests/other.rs", OPENS);
    let output = small.seer_at("src/open.rs", &["--write"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(small.get("src/lib.rs").contains("pub pool: shared::SharedPool"));
    assert!(small.get("src/open.rs").contains("SharedPool"));
    assert_eq!(
        small.get("tests/other.rs"),
        OPENS,
        "it is a target of its own, and was not asked for"
    );
}

#[test]
fn unread_module_blocks_the_move() {
    let small = Crate::new("unread", SMALL);
    small.put("src/lib.rs", &format!("mod made;\nmod plain;\n{OPENS}"));
    small.put("src/made.rs", "pub fn take(_: &sqlx::PgPool) {}\n");
    small.put("src/plain.rs", "pub fn nothing() {}\n");
    small.put(".gitignore", "made.rs\nplain.rs\n");
    let output = small.seer(&["--write"]);
    let said = text(&output.stderr);
    assert!(said.contains("src/lib.rs:1: in the way: the module in "), "{said}");
    assert_eq!(said.matches("in the way").count(), 1, "{said}");
    assert!(small.get("src/lib.rs").contains("PgPool::connect"));
}

#[test]
fn unwritable_file_changes_none() {
    let small = Crate::new("unwritable", SMALL);
    small.put(
        "src/lib.rs",
        &format!("pub mod deep {{\n    #[path = \"inner.rs\"]\n    pub mod inner;\n}}\n{OPENS}"),
    );
    small.put("src/deep/inner.rs", "pub fn take(_: &sqlx::PgPool) {}\n");
    let before = small.files();
    let folder = small.0.join("src/deep");
    let writable = fs::metadata(&folder).unwrap().permissions();
    let mut locked = writable.clone();
    locked.set_readonly(true);
    fs::set_permissions(&folder, locked).unwrap();
    let probe = fs::write(folder.join("probe"), "");
    let output = small.seer(&["--write"]);
    fs::set_permissions(&folder, writable).unwrap();
    if probe.is_ok() {
        eprintln!("not tested: a folder that cannot be written to, because this account writes anywhere");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("no file was changed"), "{output:?}");
    assert_eq!(small.files(), before);
}

#[cfg(unix)]
#[test]
fn named_symlink_stays_a_symlink() {
    let small = Crate::new("link", SMALL);
    small.put("src/lib.rs", "");
    small.put("elsewhere/opens.txt", OPENS);
    let link = small.0.join("src/opens.rs");
    std::os::unix::fs::symlink("../elsewhere/opens.txt", &link).unwrap();
    let output = small.seer_at("src/opens.rs", &["--write"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(small.get("elsewhere/opens.txt").contains("SharedPool"));
}

#[test]
fn closed_pipe_is_no_error() {
    let small = Crate::new("pipe", SMALL);
    small.put("src/lib.rs", OPENS);
    for streams in [(true, false), (false, true), (true, true)] {
        let closed = |closed: bool| -> Stdio {
            if !closed {
                return Stdio::null();
            }
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer.into()
        };
        let mut seer = small.command("", &[]);
        let status = seer
            .stdout(closed(streams.0))
            .stderr(closed(streams.1))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1), "{streams:?}");
    }
}

#[test]
fn other_sqlx_version_is_left_alone() {
    let small = Crate::new("old", &SMALL.replace("0.9", "0.8"));
    small.put("src/lib.rs", OPENS);
    let output = small.seer(&["--write"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(small.get("src/lib.rs"), OPENS);
    let said = text(&output.stderr);
    assert!(
        said.contains("src/lib.rs:4: in the way: its package asks for sqlx 0.8"),
        "{said}"
    );
}

#[test]
fn library_moves_with_its_dependents() {
    let both = Crate::new(
        "both",
        "[workspace]\nmembers = [\"store\", \"app\"]\n\n[workspace.dependencies]\nshared = { path = \"x\" }\n",
    );
    let package =
        |name: &str, more: &str| format!("[package]\nname = \"{name}\"\n\n[dependencies]\nsqlx = \"0.9\"\n{more}");
    both.put("store/Cargo.toml", &package("store", ""));
    both.put(
        "store/src/lib.rs",
        "pub struct Store {\n    pub pool: sqlx::PgPool,\n}\n",
    );
    both.put("app/Cargo.toml", &package("app", "store = { path = \"../store\" }\n"));
    let open = "use sqlx::PgPool;\nuse store::Store;\n\npub async fn open() -> sqlx::Result<Store> {\n    \
                Ok(Store { pool: PgPool::connect(\"postgres://localhost/x\").await? })\n}\n";
    both.put("app/src/lib.rs", open);
    let output = both.seer(&["--write"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        both.get("store/src/lib.rs"),
        "pub struct Store {\n    pub pool: shared::SharedPool,\n}\n"
    );
    assert!(both.get("app/src/lib.rs").contains("Store { pool: SharedPool }"));
    for manifest in ["app/Cargo.toml", "store/Cargo.toml"] {
        assert!(
            both.get(manifest).contains("\nshared.workspace = true\n"),
            "{}",
            both.get(manifest)
        );
    }
}

#[test]
fn missing_path_is_an_error() {
    let small = Crate::new("absent", SMALL);
    fs::remove_dir_all(&small.0).unwrap();
    let output = small.seer(&[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("there is no such file or folder"));
}
