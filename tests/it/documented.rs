//! The chapters of `docs/POSTGRES_SETUP.md` have an entry for every name that an operator or a client can meet, and for
//! no other: kinds of failure, problem types, health states, log lines, and parameters of `DATABASE_URL`. The examples
//! in `docs/ADDING_A_ROUTE.md` are parts of files in `functions/src`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use serde_json::Value;
use shared::config::DatabaseUrl;
use shared::db::Kind;

use super::backend::workspace;

fn chapter(name: &str) -> String {
    fs::read_to_string(workspace().join(format!("docs/postgres/{name}.md"))).unwrap()
}

/// Returns the first column of the table under a heading.
fn rows(name: &str, heading: &str) -> BTreeSet<String> {
    let chapter = chapter(name);
    let (_, section) = chapter.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let names = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Returns the headings that are one word of code.
fn headings(name: &str) -> BTreeSet<String> {
    let chapter = chapter(name);
    let names = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'));
    names.map(str::to_owned).collect()
}

/// Returns the files of a folder and of those within it.
fn sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else if path.extension().is_some_and(|end| end == "rs") {
                vec![fs::read_to_string(path).unwrap()]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// Returns the first string in the parentheses after each of these calls, which are written as their tokens, with spaces.
fn first_strings(source: &str, calls: &[&str]) -> Vec<String> {
    fn search(tokens: TokenStream, calls: &[&str], found: &mut Vec<String>) {
        let mut before = String::new();
        for token in tokens {
            let TokenTree::Group(group) = token else {
                before.push_str(&format!(" {token}"));
                continue;
            };
            if let Some(call) = calls.iter().find(|call| before.ends_with(&format!(" {call}"))) {
                let text = group.stream().into_iter().find_map(|token| {
                    let text = token.to_string();
                    Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned())
                });
                found.push(text.unwrap_or_else(|| panic!("{call} without a text of its own: {group}")));
            }
            search(group.stream(), calls, found);
            before.clear();
        }
    }
    let mut found = Vec::new();
    search(source.parse().unwrap(), calls, &mut found);
    found
}

#[test]
fn kinds_are_documented() {
    let kinds = Kind::ALL.map(|kind| kind.name().to_owned());
    let documented = &headings("connect-errors") | &headings("statement-errors");
    assert_eq!(documented, BTreeSet::from(kinds));
}

#[test]
fn problem_types_are_documented() {
    let source = fs::read_to_string(workspace().join("shared/src/http/problem.rs")).unwrap();
    let types = first_strings(&source, &["ProblemParts : : new", "Self : : new"]);
    assert_eq!(
        rows("responses", "Problem responses"),
        types.into_iter().collect::<BTreeSet<_>>()
    );
}

#[test]
fn health_states_are_documented() {
    let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let status = document["components"]["schemas"]["HealthStatus"]["enum"]
        .as_array()
        .unwrap();
    let public = status.iter().map(|name| name.as_str().unwrap().to_owned());
    // The other states of a report are kinds.
    let states = public.chain(["up".to_owned()]).collect::<BTreeSet<_>>();
    assert_eq!(rows("messages", "Health states"), states);
}

/// The lines are known by their words before a value or an explanation.
#[test]
fn log_lines_are_documented() {
    // `wide!` writes that of an invocation.
    let calls = ["tracing : : warn !", "tracing : : error !", "wide !"];
    let mut lines = BTreeSet::new();
    for source in ["shared/src", "functions/src"]
        .iter()
        .flat_map(|folder| sources(&workspace().join(folder)))
    {
        for words in first_strings(&source, &calls) {
            lines.extend(words.split([':', '{']).next().map(|words| words.trim().to_owned()));
        }
    }
    assert_eq!(rows("messages", "Log lines"), lines);
}

/// The error about an unknown parameter names all.
#[test]
fn parameters_are_documented() {
    let Err(error) = DatabaseUrl::parse("postgres://seer@localhost/seer?zzzzzz=1") else {
        panic!("accepted")
    };
    let error = error.to_string();
    let (_, names) = error.split_once("known are ").unwrap_or_else(|| panic!("{error}"));
    let names = names.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(rows("connection-string", "Each parameter"), names);
}

/// An example with an ellipsis is shortened, and is not compared.
#[test]
fn route_examples_are_from_the_files() {
    let page = fs::read_to_string(workspace().join("docs/ADDING_A_ROUTE.md")).unwrap();
    let sources = sources(&workspace().join("functions/src"));
    let blocks = page
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let whole: Vec<_> = blocks.filter(|block| !block.contains('…')).collect();
    assert!(whole.len() > 2, "{whole:#?}");
    for block in whole {
        let found = sources.iter().any(|source| source.contains(block));
        assert!(found, "no file of functions/src has this:\n{block}");
    }
}
