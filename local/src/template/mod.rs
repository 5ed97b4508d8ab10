//! The templates, read as CloudFormation reads them: functions, and the values of properties for given parameters.
//!
//! Implements the part of SAM that the tests and the connection budget need: functions with their Globals. Invariants:
//! never asks AWS, so values that only a deployed stack has (`!GetAtt`, a resource's `!Ref`) stay as they are.

mod stacks;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use yaml_serde::Value as Yaml;

pub use stacks::{Deployment, Stacks};
pub use values::Values;

/// A template; its intrinsic functions in their long form, `{"Fn::If": […]}`.
#[derive(Clone, Debug)]
pub struct Template {
    /// The whole document.
    pub document: Value,
}

/// An `AWS::Serverless::Function`.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name among the resources.
    pub id: String,
    /// Its properties, including those of Globals.
    pub properties: Value,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not YAML of mappings with text keys.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Parses a template from its text; see [`Template::read`].
    ///
    /// # Errors
    /// As [`Template::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let yaml: Yaml = yaml_serde::from_str(text)?;
        Ok(Self { document: long(yaml)? })
    }

    /// Returns the value at a JSON pointer, or null.
    pub fn at(&self, pointer: &str) -> &Value {
        self.document.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Returns the resources of a type, by name.
    pub fn resources(&self, of_type: &str) -> BTreeMap<&str, &Value> {
        let resources = self.at("/Resources").as_object().into_iter().flatten();
        resources
            .filter(|(_, resource)| resource["Type"] == of_type)
            .map(|(name, resource)| (name.as_str(), resource))
            .collect()
    }

    /// Returns the functions. SAM's rule for Globals: mappings are merged, everything else is overridden, and a
    /// function may list Globals to ignore.
    pub fn functions(&self) -> Vec<Function> {
        self.resources("AWS::Serverless::Function")
            .into_iter()
            .map(|(id, resource)| {
                let mut properties = self.at("/Globals/Function").clone();
                if let (Some(globals), Some(ignored)) =
                    (properties.as_object_mut(), resource["IgnoreGlobals"].as_array())
                {
                    globals.retain(|name, _| !ignored.iter().any(|ignored| ignored == name));
                }
                merge(&mut properties, &resource["Properties"]);
                Function {
                    id: id.to_owned(),
                    properties,
                }
            })
            .collect()
    }
}

impl Function {
    /// Returns the binary it runs: the folder of its `CodeUri`, where cargo-lambda builds it.
    pub fn binary(&self) -> Option<&str> {
        let folder = self.properties["CodeUri"].as_str()?;
        folder.strip_prefix("target/lambda/")?.strip_suffix('/')
    }
}

/// Returns whether it is an intrinsic function, which SAM never merges into.
fn intrinsic(value: &Map<String, Value>) -> bool {
    value.len() == 1 && value.keys().all(|key| key == "Ref" || key.starts_with("Fn::"))
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) if !intrinsic(into) && !intrinsic(from) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => from.clone_into(into),
    }
}

/// Returns the long form: `!If […]` as `{"Fn::If": […]}`.
fn long(yaml: Yaml) -> Result<Value> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => serde_json::to_value(number)?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(long).collect::<Result<_>>()?),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let Yaml::String(key) = key else {
                    bail!("a key is no text: {key:?}")
                };
                object.insert(key, long(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = tag.trim_start_matches('!');
            let value = long(tagged.value)?;
            match (name, value) {
                ("Ref" | "Condition", value) => json!({ name: value }),
                // The short form can be written with a dot.
                ("GetAtt", Value::String(path)) => {
                    let (resource, attribute) = path.split_once('.').context("!GetAtt names no attribute")?;
                    json!({ "Fn::GetAtt": [resource, attribute] })
                }
                (name, value) => json!({ format!("Fn::{name}"): value }),
            }
        }
    })
}

#[cfg(test)]
mod tests;
