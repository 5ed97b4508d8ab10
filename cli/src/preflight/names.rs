//! Names of resources that contain a stack name.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Plan;
use super::line::Line;

const CHECK: &str = "stack names";

/// The longest names that AWS allows, by property.
const LIMITS: [(&str, usize); 5] = [
    ("FunctionName", 64),
    ("DBClusterIdentifier", 63),
    ("DBProxyName", 63),
    ("BackupVaultName", 50),
    ("BackupPlanName", 50),
];

/// The length of the part of a stack's id that `${Id}` stands for in the name of the vault.
const ID: usize = 12;

/// The names of both stacks.
pub(super) struct StackNames {
    functions: String,
    database: String,
}

impl StackNames {
    /// Reads the names that `sam deploy` uses; `functions` takes the place of the first.
    ///
    /// # Errors
    /// Fails if the file cannot be read or names no stack.
    pub(super) fn read(file: &Path, functions: Option<String>) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let config: toml::Table = toml::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
        let name_of = |environment: &str| {
            let parameters = config.get(environment)?.get("global")?.get("parameters")?;
            Some(parameters.get("stack_name")?.as_str()?.to_owned())
        };
        let unnamed = |environment: &str| format!("samconfig.toml names no stack for {environment}");
        Ok(Self {
            functions: match functions {
                Some(name) => name,
                None => name_of("default").with_context(|| unnamed("default"))?,
            },
            database: name_of("database").with_context(|| unnamed("database"))?,
        })
    }
}

/// Checks that each name made of a stack's name is one that AWS allows.
pub(super) fn check(plan: &Plan<'_>, names: &StackNames) -> Line {
    let mut longest = made_of(&plan.stacks.functions.document, &names.functions);
    let cluster = plan.deployment.database.is_some();
    if cluster {
        longest.extend(made_of(&plan.stacks.database.document, &names.database));
    }
    let worst = longest.into_iter().max_by_key(|made| made.over);
    if let Some(Made {
        name,
        limit,
        over,
        stack,
    }) = worst.filter(|made| made.over > 0)
    {
        return Line::change(
            CHECK,
            format!(
                "{name} would have {} characters, of which AWS allows {limit}",
                limit + over
            ),
            match stack.len().checked_sub(over) {
                Some(fits) if fits > 0 => {
                    format!("give the stack a name of {fits} characters at most, in samconfig.toml")
                }
                _ => "give it a shorter name in the template".to_owned(),
            },
        );
    }
    let lower = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.contains("--")
            && !name.ends_with('-')
    };
    if cluster && !lower(&names.database) {
        return Line::change(
            CHECK,
            format!("{} becomes part of the cluster's name", names.database),
            "give the database's stack a name of lower-case letters, digits and single hyphens".to_owned(),
        );
    }
    Line::fine(CHECK, format!("{} and {}", names.functions, names.database))
}

/// A name made of a stack's name.
struct Made<'a> {
    stack: &'a str,
    name: String,
    limit: usize,
    /// The characters that are too many.
    over: usize,
}

/// Returns every limited name in a template that begins with the stack's.
fn made_of<'a>(value: &Value, stack: &'a str) -> Vec<Made<'a>> {
    let mut found = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        found.extend(made_of(value, stack));
        let Some((_, limit)) = LIMITS.iter().find(|(property, _)| property == key) else {
            continue;
        };
        let sub = &value["Fn::Sub"];
        let Some(text) = sub.as_str().or_else(|| sub[0].as_str()) else {
            continue;
        };
        let name = text
            .replace("${AWS::StackName}", stack)
            .replace("${Id}", &"0".repeat(ID));
        found.push(Made {
            stack,
            limit: *limit,
            over: name.len().saturating_sub(*limit),
            name,
        });
    }
    for value in value.as_array().into_iter().flatten() {
        found.extend(made_of(value, stack));
    }
    found
}
