//! The findings, for people and for machines: steps, findings, facts, settings, and the verdict.
//!
//! Invariants: sends no query to the server, and holds no secret, because everything in here is printed.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::text::one_line;

/// The severity of a finding; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Functions fail now, acknowledged writes can be lost, or a machine on the path can read the traffic.
    Fail,
    /// Functions will fail under load or in an outage.
    Warn,
    /// An improvement; the exit code does not count it.
    Advice,
}

/// The outcome of a step on the way to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It succeeded.
    Ok,
    /// It failed, and the following steps were not tried.
    Failed,
    /// The URL does not ask for it.
    Skipped,
    /// An earlier step failed.
    NotReached,
}

/// A step on the way to the database.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) step: &'static str,
    pub(super) outcome: Outcome,
    /// How long the step took, if it was tried.
    #[serde(rename = "ms", serialize_with = "milliseconds")]
    pub(super) took: Option<Duration>,
    pub(super) detail: String,
}

fn milliseconds<S: serde::Serializer>(took: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    took.map(|took| (took.as_secs_f64() * 10_000.0).round() / 10.0)
        .serialize(to)
}

/// A problem that requires action.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// A stable name for machines.
    pub(super) id: &'static str,
    pub(super) what: String,
    pub(super) why: String,
    /// Commands, each on a line of its own.
    pub(super) run: Vec<String>,
}

/// An observation.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) id: &'static str,
    pub(super) text: String,
    /// Details, one line each.
    pub(super) more: Vec<String>,
    pub(super) data: Value,
}

/// The result of comparing a setting with the recommendation for a fleet of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Compared {
    /// As recommended.
    Fine,
    /// Not as recommended.
    Differs,
    /// This role is not allowed to see it.
    NotVisible,
    /// This server, or its provider, does not allow changing it.
    NotSettable,
}

/// A setting of the server.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) compared: Compared,
    pub(super) level: Level,
    pub(super) value: Option<String>,
    pub(super) recommended: String,
    pub(super) why: &'static str,
    /// Lines that change it, ready to run or paste.
    pub(super) lines: Vec<String>,
    /// Whether the change waits for a restart of the server.
    pub(super) restart: bool,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// `host:port/database as role`; empty until the URL is parsed.
    pub(super) target: String,
    /// Why there is no connection.
    pub(super) unreachable: Option<Finding>,
    pub(super) steps: Vec<Step>,
    pub(super) findings: Vec<Finding>,
    pub(super) state: Vec<Fact>,
    pub(super) settings: Vec<Setting>,
    /// How settings are changed on this provider.
    pub(super) settings_note: String,
    pub(super) schema: Vec<Fact>,
    /// The recommended connection string, without the password.
    pub(super) url: Option<String>,
    /// Notes about it, one line each.
    pub(super) url_notes: Vec<String>,
}

/// The overall result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Healthy,
    Warnings,
    Failing,
    Unreachable,
}

impl Verdict {
    /// The process's exit code.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Warnings => 1,
            Self::Failing => 2,
            Self::Unreachable => 3,
        }
    }

    /// Returns the first word of the report.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Warnings => "WARNINGS",
            Self::Failing => "FAILING",
            Self::Unreachable => "CANNOT CONNECT",
        }
    }
}

impl Report {
    /// Adds a problem that requires action.
    pub(super) fn find(
        &mut self,
        level: Level,
        id: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        run: Vec<String>,
    ) {
        self.findings.push(Finding {
            level,
            id,
            what: what.into(),
            why: why.into(),
            run,
        });
    }

    /// Adds a fact about the server's state.
    pub(super) fn note(&mut self, id: &'static str, text: impl Into<String>, data: Value) {
        self.state.push(Fact {
            id,
            text: text.into(),
            more: Vec::new(),
            data,
        });
    }

    /// Takes over what was found on the way to one server.
    pub(super) fn take(&mut self, other: Self) {
        if !other.target.is_empty() {
            self.target = other.target;
        }
        self.steps = other.steps;
        self.findings.extend(other.findings);
    }

    /// Adds a fact about the schema.
    pub(super) fn note_schema(&mut self, id: &'static str, text: impl Into<String>, data: Value) {
        self.schema.push(Fact {
            id,
            text: text.into(),
            more: Vec::new(),
            data,
        });
    }

    /// Returns the settings that differ from the recommendation.
    pub(super) fn differing(&self) -> impl Iterator<Item = &Setting> {
        self.settings
            .iter()
            .filter(|setting| setting.compared == Compared::Differs)
    }

    /// Counts the findings and settings of `level`.
    pub(super) fn count(&self, level: Level) -> usize {
        let findings = self.findings.iter().filter(|finding| finding.level == level).count();
        findings + self.differing().filter(|setting| setting.level == level).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.unreachable.is_some() {
            Verdict::Unreachable
        } else if self.count(Level::Fail) > 0 {
            Verdict::Failing
        } else if self.count(Level::Warn) > 0 {
            Verdict::Warnings
        } else {
            Verdict::Healthy
        }
    }

    /// Returns the verdict's cause: the one line that a person must read.
    pub(super) fn cause(&self) -> String {
        if let Some(unreachable) = &self.unreachable {
            return unreachable.what.clone();
        }
        let count = |level, one: &str, many: &str| match self.count(level) {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let counts: Vec<String> = [
            count(Level::Fail, "failure", "failures"),
            count(Level::Warn, "warning", "warnings"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let worst = match self.verdict() {
            Verdict::Failing => Level::Fail,
            Verdict::Warnings => Level::Warn,
            Verdict::Healthy | Verdict::Unreachable => {
                let about = self.state.first().map(|fact| fact.text.clone()).unwrap_or_default();
                let about = format!("functions can work with it: {about}");
                return match count(Level::Advice, "piece of advice", "pieces of advice") {
                    None => about,
                    Some(advice) => format!("{about}; {advice}"),
                };
            }
        };
        let finding = self.findings.iter().find(|finding| finding.level == worst);
        let first = finding.map(|finding| finding.what.clone()).or_else(|| {
            let setting = self.differing().find(|setting| setting.level == worst)?;
            let value = setting.value.as_deref().filter(|value| !value.is_empty());
            let value = value.unwrap_or("empty");
            let Setting {
                name, recommended, why, ..
            } = setting;
            Some(format!("{name} is {value}, and {recommended} is recommended: {why}"))
        });
        let first = first.unwrap_or_default();
        if self.count(Level::Fail) + self.count(Level::Warn) == 1 {
            first
        } else {
            format!("{first} ({} in all)", counts.join(", "))
        }
    }

    /// Returns the first line of the report.
    pub(super) fn first_line(&self) -> String {
        let word = self.verdict().word();
        one_line(&if self.target.is_empty() {
            format!("{word}: {}", self.cause())
        } else {
            format!("{word} {}: {}", self.target, self.cause())
        })
    }

    /// Returns the report as JSON.
    pub(super) fn json(&self) -> Value {
        let facts = |facts: &[Fact]| -> Map<String, Value> {
            facts
                .iter()
                .map(|fact| (fact.id.to_owned(), fact.data.clone()))
                .collect()
        };
        let mut findings: Vec<&Finding> = self.findings.iter().chain(&self.unreachable).collect();
        findings.sort_by_key(|finding| finding.level);
        json!({
            "firstLine": self.first_line(),
            "verdict": self.verdict(),
            "exitCode": self.verdict().exit_code(),
            "target": self.target,
            "cause": self.cause(),
            "steps": self.steps,
            "findings": findings,
            "state": facts(&self.state),
            "settings": self.settings,
            "settingsNote": self.settings_note,
            "schema": facts(&self.schema),
            "url": self.url,
            "urlNotes": self.url_notes,
        })
    }
}
