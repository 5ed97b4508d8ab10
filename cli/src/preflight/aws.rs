//! Runs the `aws` command: one request, one answer in JSON.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::line::Line;

/// The limit for one question, whose answer may have many pages.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The reason for a missing answer.
pub(super) struct Failure {
    /// One line.
    message: String,
    /// The remedy, if it concerns every question.
    todo: Option<&'static str>,
}

/// Errors of `aws` that concern every question, each with its remedy.
const EVERY_QUESTION: [(&str, &str); 7] = [
    ("Unable to locate credentials", LOG_IN),
    ("ExpiredToken", LOG_IN),
    ("Token has expired", LOG_IN),
    ("InvalidClientTokenId", LOG_IN),
    ("UnrecognizedClientException", LOG_IN),
    ("You must specify a region", NAME_REGION),
    ("Could not connect to the endpoint URL", NAME_REGION),
];
const LOG_IN: &str = "log in to the account with `aws configure sso` or `aws configure`";
const NAME_REGION: &str = "set AWS_REGION and AWS_DEFAULT_REGION to the region to deploy to, such as us-east-1";
const INSTALL: &str = "install version 2 of the AWS CLI, which deploying needs too";

impl Failure {
    /// Returns the line of a check whose question was not answered.
    pub(super) fn line(self, check: &'static str) -> Line {
        match self.todo {
            Some(todo) => Line::change(check, self.message, todo.to_owned()),
            None => Line::unknown(check, self.message),
        }
    }

    /// Returns whether the answer is an error of this name.
    pub(super) fn is(&self, error: &str) -> bool {
        self.message.contains(&format!("({error})"))
    }
}

/// Asks a service, for example `["sts", "get-caller-identity"]`.
///
/// # Errors
/// Fails if there is no such command, if it fails, or if it does not answer in time.
pub(super) async fn ask(words: &[&str]) -> Result<Value, Failure> {
    let failed = |message: String| Failure { message, todo: None };
    let asked = Command::new("aws")
        .args(words)
        .args(["--output", "json"])
        // Never waits for a key.
        .env("AWS_PAGER", "")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let question = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let Ok(asked) = timeout(ANSWER_TIMEOUT, asked).await else {
        return Err(failed(format!("`aws {question}` has not answered")));
    };
    let output = asked.map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            return Failure {
                message: "there is no command aws".to_owned(),
                todo: Some(INSTALL),
            };
        }
        failed(format!("cannot run aws: {error}"))
    })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.lines().rfind(|line| !line.trim().is_empty());
        let message = message.unwrap_or("it failed").trim().trim_end_matches('.');
        let known = EVERY_QUESTION.iter().find(|(text, _)| message.contains(text));
        return Err(Failure {
            message: format!("`aws {question}`: {message}"),
            todo: known.map(|(_, todo)| *todo),
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|_| failed(format!("`aws {question}` answered no JSON")))
}

/// Returns the items of a list in an answer.
pub(super) fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}
