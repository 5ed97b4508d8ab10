//! `cargo seer preflight`: looks for everything that would make a deploy fail, or leave it half working, before it
//! begins.
//!
//! Prints a line for each check, and exits with 1 if something has to be changed. Invariants: changes nothing, asks AWS
//! only by the `aws` command, and never prints a secret. Depends on: the templates and `samconfig.toml` of the checkout
//! for the resources of a deploy.

mod account;
mod aws;
mod cluster;
mod issuer;
mod line;
mod names;
mod secrets;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use local::template::{Deployment, Stacks};

use crate::product;
use account::Account;
use line::{Line, Outcome};
use names::StackNames;

/// Looks for causes of a failed deploy to AWS, with the `aws` command; changes nothing
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A parameter of either template, as in sam deploy's --parameter-overrides; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = crate::budget::parameter)]
    parameters: Vec<(String, String)>,
    /// The name of the functions' stack [default: that of samconfig.toml]
    #[arg(long, value_name = "NAME")]
    stack_name: Option<String>,
    /// A file with a token of a signed-in person: whether the API would accept it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The stacks of a deploy, with their parameters.
struct Plan<'a> {
    stacks: &'a Stacks,
    deployment: &'a Deployment<'a>,
    given: &'a BTreeMap<String, String>,
}

impl Plan<'_> {
    /// Returns a parameter of the functions' stack that is not empty. Values that only a deployed stack has do not count.
    fn functions(&self, name: &str) -> Option<&str> {
        let value = self.deployment.functions.parameter(name)?;
        Some(value).filter(|value| !value.is_empty() && !value.contains("${"))
    }
}

/// Prints a line for each check.
///
/// # Errors
/// Fails with the remedies, if anything has to be changed.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let root = product::checkout().await?.root;
    let stacks = Stacks::read(&root.join("template.yaml"))?;
    let given: BTreeMap<_, _> = arguments.parameters.into_iter().collect();
    let deployment = stacks.deployment(&given)?;
    let plan = Plan {
        stacks: &stacks,
        deployment: &deployment,
        given: &given,
    };
    let names = StackNames::read(&root.join("samconfig.toml"), arguments.stack_name)?;

    let mut lines = vec![names::check(&plan, &names)];
    let (account, issuer) = tokio::join!(Account::find(), issuer::check(&plan, arguments.token_file.as_deref()));
    lines.extend(issuer);
    match account {
        Ok(account) => {
            lines.push(account.line());
            let (concurrency, cluster, secrets) = tokio::join!(
                account::concurrency(&plan),
                cluster::check(&plan, &account),
                secrets::check(&plan, &account),
            );
            lines.push(concurrency);
            lines.extend(cluster);
            lines.extend(secrets);
        }
        Err(line) => {
            lines.push(line);
            lines.push(Line::unknown("the rest", "it is asked from the account".to_owned()));
        }
    }
    conclude(&lines)
}

fn conclude(lines: &[Line]) -> Result<()> {
    for line in lines {
        outln!("{line}");
    }
    let to_do: Vec<_> = lines
        .iter()
        .filter_map(|line| match &line.outcome {
            Outcome::Change { todo, .. } => Some(todo.as_str()),
            Outcome::Fine(_) | Outcome::Unknown(_) => None,
        })
        .collect();
    if to_do.is_empty() {
        let unknown = lines
            .iter()
            .filter(|line| matches!(line.outcome, Outcome::Unknown(_)))
            .count();
        match unknown {
            0 => outln!("Ready."),
            _ => outln!("Nothing has to be changed; {unknown} not checked."),
        }
        return Ok(());
    }
    bail!("not ready: {}", to_do.join("; "))
}
