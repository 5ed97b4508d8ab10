//! The oracle for any function: `examples/notes.rs` passes while it fails honestly, and each of its wrong modes is detected.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use faults::{AnyFunction, Artifacts, Played, Size, play};

const EVENTS: [(&str, &str); 2] = [("read.json", "{}"), ("write.json", r#"{"body": "{{id}}"}"#)];

fn notes() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let binary = tests.ancestors().nth(2).unwrap().join("examples/notes");
    assert!(
        binary.exists(),
        "cargo test builds it, with --test only: cargo build -p faults --example notes"
    );
    binary
}

async fn played(mode: &str, name: &str) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let events = EVENTS.map(|(name, text)| file(name, text));
    let schema = file("schema.sql", "CREATE TABLE notes (note text NOT NULL)");
    let contract = format!(
        "environment = {{ MODE = '{mode}' }}\n\
         [write]\n\
         count = \"SELECT count(*) FROM notes WHERE note = '{{{{id}}}}'\"\n\
         statement = 'INSERT INTO notes'\n\
         applied = [201]\n"
    );
    let contract = file("contract.toml", &contract);
    let function = AnyFunction::read(&notes(), &events, &[schema], Some(&contract)).unwrap();
    let scenarios = function.scenarios(Size::Small);
    let scenario = scenarios.iter().find(|scenario| scenario.name == name).unwrap();
    play(scenario, &Artifacts::Function(function), 1, |_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_function_passes() {
    for name in [
        "terminated-while-frozen",
        "hung-while-frozen",
        "connections-reset",
        "write-cut",
    ] {
        let played = played("honest", name).await;
        assert_eq!(played.verdict, Default::default(), "{name}");
        assert!(played.served() > 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn function_that_never_reconnects_is_guilty() {
    let wrong = played("once", "terminated-while-frozen").await.verdict.wrong;
    assert!(wrong.iter().any(|line| line.starts_with("not recovered")), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn false_acknowledgement_is_lost() {
    let verdict = played("boast", "write-cut").await.verdict;
    assert!(verdict.lost > 0 && verdict.duplicated == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blind_retry_is_duplicated() {
    let verdict = played("again", "write-cut").await.verdict;
    assert!(verdict.duplicated > 0 && verdict.lost == 0, "{verdict:?}");
}
