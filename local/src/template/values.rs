//! What a template's values come to, for given parameters.
//!
//! Does what CloudFormation does with `Ref` to a parameter, conditions, `If`, `Sub`, `Join` and `Split`; leaves the rest
//! as it stands. May not guess: a parameter without a default that was not given stays a `Ref`.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::Template;

/// A template with its parameters decided.
#[derive(Debug)]
pub struct Values<'a> {
    template: &'a Template,
    parameters: BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    /// The given parameters, and for all others their defaults.
    ///
    /// # Errors
    /// A parameter that the template does not have, or a value that it does not allow; the line says which are.
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

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Whether a condition of the template holds; one that it does not have does not.
    pub fn condition(&self, name: &str) -> bool {
        self.holds(&self.template.at("/Conditions")[name])
    }

    /// A value with every intrinsic function in it replaced that can be. Null stands for `AWS::NoValue`.
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

    /// What a function comes to, if it is one that is known here.
    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        match function {
            "Ref" if argument == "AWS::NoValue" => Some(Value::Null),
            "Ref" => self.parameter(argument.as_str()?).map(Value::from),
            "Fn::If" => {
                let chosen = if self.condition(argument[0].as_str()?) { 1 } else { 2 };
                Some(self.of(&argument[chosen]))
            }
            "Fn::Sub" => argument.as_str().map(|text| Value::from(self.substituted(text))),
            "Fn::Join" => {
                let (separator, items) = (argument[0].as_str()?, self.of(&argument[1]));
                // A list among the parameters is its text.
                if let Some(list) = items.as_str() {
                    return Some(Value::from(list.replace(',', separator)));
                }
                let items: Option<Vec<_>> = items.as_array()?.iter().map(text).collect();
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

    /// Parameters in the text; what else is named there stays `${…}`.
    fn substituted(&self, text: &str) -> String {
        let named = self.parameters.iter();
        named.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        })
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
