//! Evaluates a template's values for given parameters.
//!
//! Evaluates `Ref` to a parameter, conditions, `If`, `Sub`, `Join` and `Split` as CloudFormation does. Everything else
//! stays unevaluated, within text in the form of `Sub`: `${Cluster.Endpoint.Address}`. Invariants: never guesses; a
//! parameter that has neither a value nor a default stays a `Ref`.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::Template;

/// A template with values for its parameters.
#[derive(Debug)]
pub struct Values<'a> {
    template: &'a Template,
    parameters: BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    /// Uses the given parameters, and the defaults of all others.
    ///
    /// # Errors
    /// Fails with one line if the template does not have a parameter, or does not allow its value; the line lists the
    /// alternatives.
    pub fn new(template: &'a Template, given: &BTreeMap<String, String>) -> Result<Self> {
        let declared = template.at("/Parameters").as_object().cloned().unwrap_or_default();
        for (name, value) in given {
            let Some(parameter) = declared.get(name) else {
                let names: Vec<_> = declared.keys().map(String::as_str).collect();
                bail!("the template has no parameter {name}; it has {}", names.join(", "));
            };
            allowed(name, value, parameter)?;
        }
        let defaults = declared
            .into_iter()
            .filter_map(|(name, parameter)| Some((name, text(parameter.get("Default")?)?)));
        let mut parameters: BTreeMap<_, _> = defaults.collect();
        parameters.extend(given.clone());
        Ok(Self { template, parameters })
    }

    /// Returns a parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Returns whether a condition of the template holds; false for an unknown condition.
    pub fn condition(&self, name: &str) -> bool {
        self.holds(&self.template.at("/Conditions")[name])
    }

    /// Returns a value with every supported intrinsic function in it evaluated. Null represents `AWS::NoValue`.
    pub fn of(&self, value: &Value) -> Value {
        match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.of(item));
                Value::Array(items.filter(|item| !item.is_null()).collect())
            }
            Value::Object(entries) => {
                if let Some((function, argument)) = entries.iter().next().filter(|_| entries.len() == 1)
                    && let Some(value) = self.call(function, argument)
                {
                    return value;
                }
                let entries = entries.iter().map(|(key, value)| (key.clone(), self.of(value)));
                Value::Object(entries.filter(|(_, value)| !value.is_null()).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    /// Evaluates an intrinsic function; returns `None` if it is not supported.
    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        match function {
            "Ref" if argument == "AWS::NoValue" => Some(Value::Null),
            "Ref" => self.parameter(argument.as_str()?).map(Value::from),
            "Fn::If" => {
                let chosen = if self.condition(argument[0].as_str()?) { 1 } else { 2 };
                Some(self.of(&argument[chosen]))
            }
            "Fn::Sub" => {
                let Some(text) = argument.as_str() else {
                    return self.substituted_with(argument[0].as_str()?, &self.of(&argument[1]));
                };
                Some(Value::from(self.substituted(text)))
            }
            "Fn::Join" => {
                let (separator, items) = (argument[0].as_str()?, self.of(&argument[1]));
                // A list parameter is its text.
                if let Some(list) = items.as_str() {
                    return Some(Value::from(list.replace(',', separator)));
                }
                let items: Option<Vec<_>> = items.as_array()?.iter().map(named).collect();
                Some(Value::from(items?.join(separator)))
            }
            "Fn::Split" => {
                let text = self.of(&argument[1]);
                Some(json!(text.as_str()?.split(argument[0].as_str()?).collect::<Vec<_>>()))
            }
            _ => None,
        }
    }

    fn holds(&self, condition: &Value) -> bool {
        let all = |argument: &Value| {
            argument
                .as_array()
                .is_some_and(|all| all.iter().all(|one| self.holds(one)))
        };
        let any = |argument: &Value| {
            argument
                .as_array()
                .is_some_and(|all| all.iter().any(|one| self.holds(one)))
        };
        let Some((function, argument)) = condition.as_object().and_then(|object| object.iter().next()) else {
            return false;
        };
        match function.as_str() {
            "Condition" => argument.as_str().is_some_and(|name| self.condition(name)),
            "Fn::And" => all(argument),
            "Fn::Or" => any(argument),
            "Fn::Not" => !any(argument),
            "Fn::Equals" => text(&self.of(&argument[0])) == text(&self.of(&argument[1])),
            _ => false,
        }
    }

    /// The text with the given names replaced, then parameters.
    fn substituted_with(&self, text: &str, given: &Value) -> Option<Value> {
        let given = given.as_object()?.iter();
        let text = given.fold(text.to_owned(), |text, (name, value)| match named(value) {
            Some(value) => text.replace(&format!("${{{name}}}"), &value),
            None => text,
        });
        Some(Value::from(self.substituted(&text)))
    }

    /// The stack's outputs as text, as they become parameters of another stack.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let outputs = self.template.at("/Outputs").as_object().into_iter().flatten();
        outputs
            .filter_map(|(name, output)| Some((name.clone(), named(&self.of(&output["Value"]))?)))
            .collect()
    }

    /// Parameters in the text; what else is named there stays `${…}`.
    fn substituted(&self, text: &str) -> String {
        let named = self.parameters.iter();
        named.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        })
    }
}

/// A value within text; an attribute, or another resource, as `Sub` names it.
fn named(value: &Value) -> Option<String> {
    if let Some(resource) = value["Ref"].as_str() {
        return Some(format!("${{{resource}}}"));
    }
    let attribute = &value["Fn::GetAtt"];
    match (attribute[0].as_str(), attribute[1].as_str()) {
        (Some(resource), Some(attribute)) => Some(format!("${{{resource}.{attribute}}}")),
        _ => text(value),
    }
}

/// Parameters are text, whatever their type.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn allowed(name: &str, value: &str, parameter: &Value) -> Result<()> {
    if let Some(allowed) = parameter["AllowedValues"].as_array() {
        let allowed: Vec<_> = allowed.iter().filter_map(text).collect();
        ensure!(
            allowed.iter().any(|one| one == value),
            "{name} must be one of {}",
            allowed.join(", ")
        );
    }
    if parameter["Type"] == "Number" {
        let number: Option<f64> = value.parse().ok();
        let within = number.is_some_and(|number| {
            parameter["MinValue"].as_f64().is_none_or(|least| number >= least)
                && parameter["MaxValue"].as_f64().is_none_or(|most| number <= most)
        });
        let bounds = [("MinValue", "at least"), ("MaxValue", "at most")]
            .into_iter()
            .filter_map(|(key, word)| Some(format!("{word} {}", text(&parameter[key])?)))
            .collect::<Vec<_>>();
        ensure!(within, "{name} must be a number, {}", bounds.join(" and "));
    }
    Ok(())
}
