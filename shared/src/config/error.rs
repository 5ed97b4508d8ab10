//! Why a variable is not usable, in one line for the operator.
//!
//! Invariants: never contains or prints a value. Values are often secrets, and a value that is wrong here may be valid
//! elsewhere.

use super::{DATABASE_SECRET_ARN, DATABASE_URL};

/// An unusable variable, parameter of `DATABASE_URL`, or resource that a variable refers to.
///
/// `Display` is one line: the variable, the parameter, and the violated rule with the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {}{problem}", parameter.as_ref().map(|name| format!("parameter {name}: ")).unwrap_or_default())]
pub struct ConfigError {
    variable: &'static str,
    parameter: Option<String>,
    problem: String,
}

impl ConfigError {
    /// Returns a problem of a variable.
    pub fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self {
            variable,
            parameter: None,
            problem: problem.into(),
        }
    }

    /// Returns a problem of `DATABASE_URL` outside its parameters.
    pub(super) fn url(problem: impl Into<String>) -> Self {
        Self::new(DATABASE_URL, problem)
    }

    /// Returns a problem of one parameter of `DATABASE_URL`.
    pub(super) fn parameter_of_url(name: &str, problem: impl Into<String>) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::url(problem)
        }
    }

    /// Turns it into a problem of the connection string in the secret instead of `DATABASE_URL`.
    pub(super) fn of_secret(self) -> Self {
        let problem = match self.parameter {
            Some(_) => self.problem,
            None => format!("the secret's connection string {}", self.problem),
        };
        Self {
            variable: DATABASE_SECRET_ARN,
            problem,
            ..self
        }
    }

    /// Returns the invalid environment variable.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Returns the invalid parameter of `DATABASE_URL`, if it is a single one.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        self.parameter.as_deref()
    }
}
