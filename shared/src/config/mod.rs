//! The configuration: every environment variable the engine reads, each read once, here and nowhere else.
//!
//! | variable | unit | default | set too high | set too low |
//! |---|---|---|---|---|
//! | `DATABASE_URL` | `postgres://USER:PASSWORD@HOST:PORT/DATABASE?…`; its parameters are listed in [`database_url`] | required, unless the secret says all of it | – | – |
//! | `DATABASE_SECRET_ARN` | the whole ARN of a secret of Secrets Manager, see below | none | – | – |
//! | `DATABASE_IAM_AUTH` | `true`, `false`: log in to RDS with a token instead of a password, see below | `false` | – | – |
//! | `MAX_RETRY_ATTEMPTS` | attempts in all at one read or transaction, 1–100 (1 = never retry) | 5 | work that cannot succeed is tried until the deadline, and a struggling database gets that load again | one lost connection or serialization failure reaches a client |
//! | `RETRY_DELAY_MS` | milliseconds, 1–10,000: the base of the back-off (full jitter, doubling, capped) | 50 | the deadline passes while waiting | a fleet retries in step and keeps the database down |
//! | `APPLICATION_ROLE`, `MONITORING_ROLE` | lower-case names of roles; only `migrations-run` reads them, and makes them | none | – | – |
//! | `LOG_LEVEL` | `trace`, `debug`, `info`, `warn`, `error` | `AWS_LAMBDA_LOG_LEVEL`, else `info` | (`trace`) logs cost more than the function | (`error`) retries and slow connects go unseen |
//!
//! With `DATABASE_SECRET_ARN` the secret says who logs in. It is JSON as RDS writes it (`username`, `password`, and `host`,
//! `port`, `dbname` where it has them; a master secret that RDS manages has not), or a connection string, as it is or in
//! JSON under `DATABASE_URL` or `url`. `DATABASE_URL`, without user and password, then says where and how: its host and
//! database win over the secret's, and it is the one place for parameters. It may leave out either, as
//! `postgres:///?connection_limit=2` does. Without it `sslmode` is `verify-full`, and a connection string in the secret
//! may have the parameters `sslmode`, `sslrootcert`, `sslcert`, `sslkey` and `host`; the others decide how the pool is
//! made, which is before the secret is read.
//!
//! With `DATABASE_IAM_AUTH=true` `DATABASE_URL` has a user and no password, and `sslmode` must be `require` or stricter.
//!
//! These two need an execution role. `AWS_REGION`, `AWS_ENDPOINT_URL_SECRETS_MANAGER` and `AWS_ENDPOINT_URL` are read
//! here for them. The role's credentials are the one thing that is not read here: `aws-config` takes them from
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or with SnapStart from where
//! `AWS_CONTAINER_CREDENTIALS_FULL_URI` points, anew each time, because Lambda renews them.
//!
//! Lambda sets these; outside Lambda their defaults hold:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `AWS_LAMBDA_FUNCTION_NAME` | part of `application_name`, so `pg_stat_activity` says whose a session is | `local` |
//! | `AWS_LAMBDA_FUNCTION_VERSION` | the same | `$LATEST` |
//! | `AWS_LAMBDA_MAX_CONCURRENCY` | requests one environment serves at once (Managed Instances): the pool's size without `connection_limit` | 1 |
//! | `AWS_LAMBDA_INITIALIZATION_TYPE` | `provisioned-concurrency` where INIT runs long before the first request: on a crowded server its connection is closed then | – |
//! | `AWS_LAMBDA_LOG_LEVEL` | as `LOG_LEVEL`, which wins; `fatal` counts as `error` | – |
//!
//! `PGOPTIONS`, `PGSSLCERT` and `PGSSLKEY` must not be set: the driver takes them from the environment and has no
//! way to leave them out again. All other `PG…` variables have no effect.
//!
//! A malformed variable spoils only the part that needs it: a function whose `DATABASE_URL` is wrong still finishes
//! INIT, logs the one line of its [`ConfigError`] and answers. Values are trimmed; an empty one counts as unset.
//!
//! May not: connect, log, or print a value. Relies on nothing of this crate.

pub mod database_url;
mod error;
mod login;

use std::time::Duration;

use tracing::Level;

pub use database_url::DatabaseUrl;
pub use error::ConfigError;
pub use login::{Login, SecretSource};

const DATABASE_URL: &str = "DATABASE_URL";
const DATABASE_SECRET_ARN: &str = "DATABASE_SECRET_ARN";
const DATABASE_IAM_AUTH: &str = "DATABASE_IAM_AUTH";
const MAX_RETRY_ATTEMPTS: &str = "MAX_RETRY_ATTEMPTS";
const RETRY_DELAY_MS: &str = "RETRY_DELAY_MS";
const APPLICATION_ROLE: &str = "APPLICATION_ROLE";
const MONITORING_ROLE: &str = "MONITORING_ROLE";
const LOG_LEVEL: &str = "LOG_LEVEL";
const AWS_REGION: &str = "AWS_REGION";
const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
const AWS_ENDPOINT_URL_SECRETS_MANAGER: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
const AWS_LAMBDA_LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
const AWS_LAMBDA_FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";
const AWS_LAMBDA_FUNCTION_VERSION: &str = "AWS_LAMBDA_FUNCTION_VERSION";
const AWS_LAMBDA_MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";
const AWS_LAMBDA_INITIALIZATION_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// Every variable of the engine that a function's configuration may set; the product has its own.
/// `RUST_BACKTRACE` and what else the platform reads is not of them, nor is what Lambda itself sets.
pub const VARIABLES: &[&str] = &[
    DATABASE_URL,
    DATABASE_SECRET_ARN,
    DATABASE_IAM_AUTH,
    MAX_RETRY_ATTEMPTS,
    RETRY_DELAY_MS,
    APPLICATION_ROLE,
    MONITORING_ROLE,
    LOG_LEVEL,
    AWS_ENDPOINT_URL,
    AWS_ENDPOINT_URL_SECRETS_MANAGER,
];

/// Reads one variable of the product: trimmed, and `None` if it is unset or empty.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    usable(std::env::var(name).ok())
}

fn usable(value: Option<String>) -> Option<String> {
    value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What the driver reads from the environment and its builder cannot unset.
const READ_BY_THE_DRIVER: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// Bytes PostgreSQL keeps of an `application_name` or an identifier; the rest it cuts off without a word.
const NAME_BYTES: usize = 63;

/// The configuration of one execution environment. Each part that can be malformed carries its own error.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach PostgreSQL, and how often to try.
    pub database: Result<DatabaseConfig, ConfigError>,
    /// The roles that `migrations-run` makes.
    pub roles: Result<Roles, ConfigError>,
    /// The least severe level that is logged.
    pub log_level: Result<Level, ConfigError>,
    /// What Lambda says about this environment.
    pub lambda: LambdaEnvironment,
}

/// Everything `db` needs.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Where the database is, how its connections are set up and how they log in.
    pub url: DatabaseUrl,
    /// How failed work is tried again.
    pub retry: RetryConfig,
}

/// How failed work is tried again. The deadline bounds all of it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// Attempts in all at one read or transaction, the first included; at least 1. Connecting is bounded by
    /// [`DatabaseUrl::pool_timeout`] instead: a restart lasts seconds, whatever the number of attempts.
    pub max_attempts: u32,
    /// The base of the back-off: the longest wait before the second attempt.
    pub base_delay: Duration,
}

/// The roles that functions log in as, where `migrations-run` is to make them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Of the routes.
    pub application: Option<String>,
    /// Of `health`.
    pub monitoring: Option<String>,
}

/// What Lambda says about this execution environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaEnvironment {
    /// The function's name.
    pub function_name: String,
    /// The function's version.
    pub function_version: String,
    /// Requests served at once; at least 1.
    pub max_concurrency: usize,
    /// Provisioned concurrency: INIT may run hours before the first request.
    pub provisioned: bool,
}

impl Config {
    /// Reads the process's environment. Never fails: what is wrong is in the part it spoils.
    #[must_use]
    pub fn from_env() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// As [`Config::from_env`], from any source of variables.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name| usable(lookup(name));
        let driver_variable = READ_BY_THE_DRIVER.into_iter().find(|name| lookup(name).is_some());
        Self {
            database: database(value, driver_variable),
            roles: roles(value),
            log_level: log_level(value),
            lambda: LambdaEnvironment {
                function_name: value(AWS_LAMBDA_FUNCTION_NAME).unwrap_or_else(|| "local".to_owned()),
                function_version: value(AWS_LAMBDA_FUNCTION_VERSION).unwrap_or_else(|| "$LATEST".to_owned()),
                // What is not a number counts as 1 for the Lambda runtime too, and both must agree.
                max_concurrency: value(AWS_LAMBDA_MAX_CONCURRENCY)
                    .and_then(|text| text.parse().ok())
                    .map_or(1, |requests: u16| usize::from(requests.max(1))),
                provisioned: value(AWS_LAMBDA_INITIALIZATION_TYPE)
                    .is_some_and(|kind| kind == "provisioned-concurrency"),
            },
        }
    }
}

impl LambdaEnvironment {
    /// `name:version` for `pg_stat_activity`, the name cut so that PostgreSQL's 63 bytes still show the version.
    #[must_use]
    pub fn application_name(&self) -> String {
        let room = NAME_BYTES.saturating_sub(self.function_version.len() + 1);
        let name = &self.function_name[..self.function_name.floor_char_boundary(room)];
        format!("{name}:{}", self.function_version)
    }
}

fn database(
    value: impl Fn(&'static str) -> Option<String>,
    driver_variable: Option<&'static str>,
) -> Result<DatabaseConfig, ConfigError> {
    if let Some(name) = driver_variable {
        return Err(ConfigError::new(
            name,
            "must not be set: the database driver would take it; unset it and use DATABASE_URL's parameters",
        ));
    }
    let login = Login::read(&value)?;
    let url = match (value(DATABASE_URL), &login) {
        (Some(url), _) => url,
        (None, Login::Secret(_)) => database_url::secret::ALONE.to_owned(),
        (None, Login::Url | Login::Iam { .. }) => {
            return Err(ConfigError::url(
                "is not set; set it to postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full",
            ));
        }
    };
    Ok(DatabaseConfig {
        url: DatabaseUrl::parse_for(&url, login)?,
        retry: RetryConfig {
            max_attempts: number(MAX_RETRY_ATTEMPTS, value(MAX_RETRY_ATTEMPTS), 5, 100)?,
            base_delay: Duration::from_millis(number(RETRY_DELAY_MS, value(RETRY_DELAY_MS), 50, 10_000)?.into()),
        },
    })
}

fn number(variable: &'static str, value: Option<String>, default: u32, most: u32) -> Result<u32, ConfigError> {
    value.map_or(Ok(default), |text| {
        whole_number(&text, 1, most)
            .ok_or_else(|| ConfigError::new(variable, format!("must be a whole number from 1 to {most}")))
    })
}

/// Decimal digits only, so that no sign, space or fraction passes for a number.
fn whole_number(text: &str, least: u32, most: u32) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && (least..=most).contains(number))
}

fn roles(value: impl Fn(&'static str) -> Option<String>) -> Result<Roles, ConfigError> {
    let role = |name| {
        let Some(role) = value(name) else { return Ok(None) };
        let plain = role
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !plain || role.len() > NAME_BYTES || role.starts_with("pg_") {
            let rule = "must be a role's name of lower-case letters, digits and _, not beginning with pg_";
            return Err(ConfigError::new(name, rule));
        }
        Ok(Some(role))
    };
    Ok(Roles {
        application: role(APPLICATION_ROLE)?,
        monitoring: role(MONITORING_ROLE)?,
    })
}

fn log_level(value: impl Fn(&'static str) -> Option<String>) -> Result<Level, ConfigError> {
    for variable in [LOG_LEVEL, AWS_LAMBDA_LOG_LEVEL] {
        if let Some(text) = value(variable) {
            return match text.to_ascii_lowercase().as_str() {
                "trace" => Ok(Level::TRACE),
                "debug" => Ok(Level::DEBUG),
                "info" => Ok(Level::INFO),
                "warn" => Ok(Level::WARN),
                "error" | "fatal" => Ok(Level::ERROR),
                _ => Err(ConfigError::new(variable, "must be trace, debug, info, warn or error")),
            };
        }
    }
    Ok(Level::INFO)
}

#[cfg(test)]
mod tests;
