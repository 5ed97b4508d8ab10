//! The functions of `template.yaml` that differ in name, method and path only, between two marker lines.
//!
//! A rare route's function also reserves less concurrency. A function with properties of its own (memory, variables, no
//! authorizer) is outside of the markers and never changed. A block between them is only written again if its name,
//! method, path or reserve differs from its route's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use local::template::Template;

use super::part::{Part, marked};
use super::source::{Route, Sources};

const BEGIN: &str = "  # routes: begin\n";
const END: &str = "  # routes: end\n";
/// The reserve of a rare route: enough for a page that sends two requests at once, and never more than the others.
const RARE: &str = "      ReservedConcurrentExecutions: !If [Reserves, !If [ReservesOne, 1, 2], !Ref AWS::NoValue],\n";

/// The template with a function for each route.
pub(super) fn functions(text: &str, sources: &Sources) -> Result<Part> {
    let (head, inside, tail) = marked(text, BEGIN, END)?;
    let mut blocks = BTreeMap::new();
    for block in inside
        .split("\n\n")
        .map(|block| block.trim_matches('\n'))
        .filter(|block| !block.is_empty())
    {
        let first = block.lines().find(|line| !line.trim_start().starts_with('#'));
        let id = first.and_then(|line| line.strip_prefix("  ")?.strip_suffix(':'));
        let id =
            id.context("a block between # routes: begin and # routes: end does not begin with a resource's name")?;
        blocks.insert(id.to_owned(), block);
    }
    let (mut actual, mut outside) = (BTreeMap::new(), BTreeSet::new());
    for function in Template::parse(text)?.functions() {
        let binary = function.binary().unwrap_or_default();
        if !blocks.contains_key(&function.id) {
            outside.insert(binary.to_owned());
            continue;
        }
        let event = &function.properties["Events"]["Route"]["Properties"];
        let [method, path] = ["Method", "Path"].map(|name| event[name].as_str().unwrap_or("?"));
        let name = if id(binary) == function.id {
            binary
        } else {
            &function.id
        };
        let rare = blocks.get(&function.id).is_some_and(|block| block.contains(RARE));
        actual.insert(name.to_owned(), stated(&format!("{method} {path}"), rare));
    }
    let routes = || sources.routes.iter().filter(|route| !outside.contains(&route.name));
    let made = routes().map(|route| match blocks.get(&id(&route.name)) {
        Some(block) if actual.get(&route.name) == Some(&stated(&route.key(), route.rare)) => (*block).to_owned(),
        _ => block(route),
    });
    let made: String = made.map(|block| format!("\n{block}\n")).collect();
    let expected = routes().map(|route| (route.name.clone(), stated(&route.key(), route.rare)));
    Ok(Part {
        entry: "function",
        expected: expected.collect(),
        text: format!("{head}{made}\n{tail}"),
        actual,
    })
}

/// A route with its reserve, for comparison.
fn stated(route: &str, rare: bool) -> String {
    let rarely = if rare { ", rarely" } else { "" };
    format!("{route}{rarely}")
}

/// A function's name among the resources, which are letters and digits: `MeetingsGet` for `meetings-get`.
fn id(name: &str) -> String {
    let mut id = String::new();
    for word in name.split('-') {
        let mut letters = word.chars();
        id.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        id.extend(letters);
    }
    id
}

fn block(route: &Route) -> String {
    let Route { name, method, path, .. } = route;
    let reserve = if route.rare { RARE } else { "" };
    format!(
        "  {id}:
    Type: AWS::Serverless::Function
    Properties: {{FunctionName: !Sub \"${{AWS::StackName}}-{name}\", CodeUri: target/lambda/{name}/,
      Role: !GetAtt RouteRole.Arn, AutoPublishCodeSha256: !Ref Release,
{reserve}      Events: {{Route: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Method: {method}, Path: \"{path}\"}}}}}}}}",
        id = id(name)
    )
}
