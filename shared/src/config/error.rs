//! Why a variable cannot be used, in one line for the operator.
//!
//! May not: hold or print a value. Values are secrets as often as not, and a value that is wrong here may be
//! right somewhere else.

use super::{DATABASE_SECRET_ARN, DATABASE_URL};

/// A variable, one parameter of `DATABASE_URL`, or what a variable leads to, that cannot be used.
///
/// `Display` is one line: the variable, the parameter, and the rule that was broken with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {}{problem}", parameter.as_ref().map(|name| format!("parameter {name}: ")).unwrap_or_default())]
pub struct ConfigError {
    variable: &'static str,
    parameter: Option<String>,
    problem: String,
}

impl ConfigError {
    /// A problem of a variable.
    pub fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self {
            variable,
            parameter: None,
            problem: problem.into(),
        }
    }

    /// A problem of `DATABASE_URL` outside its parameters.
    pub(super) fn url(problem: impl Into<String>) -> Self {
        Self::new(DATABASE_URL, problem)
    }

    /// A problem of one parameter of `DATABASE_URL`.
    pub(super) fn parameter_of_url(name: &str, problem: impl Into<String>) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::url(problem)
        }
    }

    /// A problem of a connection string that is not `DATABASE_URL`'s but stands in the secret.
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

    /// The environment variable at fault.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// The parameter of `DATABASE_URL` at fault, when it is one parameter's.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        self.parameter.as_deref()
    }
}
