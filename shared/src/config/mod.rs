//! The configuration: every environment variable that the engine reads, each of them once, and only here.
//!
//! | variable | unit | default | set too high | set too low |
//! |---|---|---|---|---|
//! | `DATABASE_URL` | `postgres://USER:PASSWORD@HOST:PORT/DATABASE?…`; its parameters are listed in [`database_url`] | required, unless the secret contains everything | – | – |
//! | `DATABASE_SECRET_ARN` | the whole ARN of a secret of Secrets Manager, see below | none | – | – |
//! | `DATABASE_IAM_AUTH` | `true`, `false`: log in to RDS with a token instead of a password, see below | `false` | – | – |
//! | `MAX_RETRY_ATTEMPTS` | total attempts at one read or transaction, 1–100 (1 = never retry) | 5 | work that cannot succeed is retried until the deadline, which adds load to a struggling database | one lost connection or serialization failure reaches a client |
//! | `RETRY_DELAY_MS` | milliseconds, 1–10,000: the base of the back-off (full jitter, doubling, capped) | 50 | the deadline passes while waiting | all environments retry at the same time and keep the database down |
//! | `APPLICATION_ROLE`, `MONITORING_ROLE` | lower-case names of roles; only `migrations-run` reads them, and creates the roles | none | – | – |
//! | `CALLER_SHARE` | percent of an environment's time that one caller may use, 1–100, where a byte of a body counts as a microsecond; more is answered 429 | 100: no limit | one caller can keep every environment of a route busy | a caller who is alone is refused, too |
//! | `LOG_LEVEL` | `trace`, `debug`, `info`, `warn`, `error` | `AWS_LAMBDA_LOG_LEVEL`, else `info` | (`trace`) logs cost more than the function | (`error`) retries and slow connects are not logged |
//!
//! With `DATABASE_SECRET_ARN` the secret provides user and password. It is JSON as RDS writes it (`username`,
//! `password`, and `host`, `port`, `dbname` if present; a master secret that RDS manages has none of these three), or a
//! connection string, directly or in JSON under `DATABASE_URL` or `url`. `DATABASE_URL`, without user and password,
//! then provides address and parameters: its host and database take precedence over the secret's, and only it can
//! contain parameters. It may leave out either, for example `postgres:///?connection_limit=2`. Without it `sslmode` is
//! `verify-full`, and a connection string in the secret can contain the parameters `sslmode`, `sslrootcert`, `sslcert`,
//! `sslkey` and `host`; the others configure the pool, which is created before the secret is read.
//!
//! With `DATABASE_IAM_AUTH=true` `DATABASE_URL` has a user and no password. Like a secret, a token requires
//! `sslmode=verify-full`, except for a server on this machine: see [`database_url`].
//!
//! Both need an execution role. `AWS_REGION`, `AWS_ENDPOINT_URL_SECRETS_MANAGER` and `AWS_ENDPOINT_URL` are read here
//! for them. The role's credentials are the only exception: `aws-config` reads them from `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or with SnapStart from the address in
//! `AWS_CONTAINER_CREDENTIALS_FULL_URI`, each time again, because Lambda renews them.
//!
//! Lambda sets these; outside Lambda their defaults apply:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `AWS_LAMBDA_FUNCTION_NAME` | part of `application_name`, so that `pg_stat_activity` shows which function owns a session | `local` |
//! | `AWS_LAMBDA_FUNCTION_VERSION` | the same | `$LATEST` |
//! | `AWS_LAMBDA_MAX_CONCURRENCY` | requests one environment serves at once (Managed Instances): the pool's size without `connection_limit` | 1 |
//! | `AWS_LAMBDA_INITIALIZATION_TYPE` | `provisioned-concurrency` if INIT runs long before the first request: near the server's capacity its connection is then closed | – |
//! | `AWS_LAMBDA_LOG_LEVEL` | as `LOG_LEVEL`, which takes precedence; `fatal` counts as `error` | – |
//!
//! `PGOPTIONS`, `PGSSLCERT` and `PGSSLKEY` must not be set: the driver reads them from the environment, and they cannot
//! be removed from its options. All other `PG…` variables have no effect.
//!
//! A malformed variable only affects the part that needs it: a function with an invalid `DATABASE_URL` still finishes
//! INIT, logs the one line of its [`ConfigError`] and answers requests. Values are trimmed; an empty one counts as
//! unset.
//!
//! Invariants: never connects, logs, or prints a value. Depends on: nothing of this crate.

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
const CALLER_SHARE: &str = "CALLER_SHARE";
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

/// Every variable of the engine that a function's configuration can set; the product has its own. Variables of the
/// platform, such as `RUST_BACKTRACE`, and those that Lambda itself sets are not included.
pub const VARIABLES: &[&str] = &[
    DATABASE_URL,
    DATABASE_SECRET_ARN,
    DATABASE_IAM_AUTH,
    MAX_RETRY_ATTEMPTS,
    RETRY_DELAY_MS,
    APPLICATION_ROLE,
    MONITORING_ROLE,
    CALLER_SHARE,
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

/// Variables that the driver reads from the environment and its builder cannot unset.
const READ_BY_THE_DRIVER: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// Bytes that PostgreSQL keeps of an `application_name` or an identifier; it cuts off the rest silently.
const NAME_BYTES: usize = 63;

/// The configuration of one execution environment. Each part that can be malformed carries its own error.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach PostgreSQL, and how often to retry.
    pub database: Result<DatabaseConfig, ConfigError>,
    /// The roles that `migrations-run` creates.
    pub roles: Result<Roles, ConfigError>,
    /// The percentage of an environment's time that one caller may use.
    pub caller_share: Result<u32, ConfigError>,
    /// The least severe level that is logged.
    pub log_level: Result<Level, ConfigError>,
    /// The environment's properties from Lambda.
    pub lambda: LambdaEnvironment,
}

/// The settings that `db` needs.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The address of the database, and the settings and authentication of its connections.
    pub url: DatabaseUrl,
    /// The retry policy for failed work.
    pub retry: RetryConfig,
}

/// The retry policy for failed work. The deadline limits it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// The total number of attempts at one read or transaction, including the first; at least 1. Connecting is limited
    /// by [`DatabaseUrl::pool_timeout`] instead: a restart lasts seconds, regardless of the number of attempts.
    pub max_attempts: u32,
    /// The base of the back-off: the longest wait before the second attempt.
    pub base_delay: Duration,
}

/// The roles that functions log in as, if `migrations-run` creates them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// The role of the routes.
    pub application: Option<String>,
    /// The role of `health`.
    pub monitoring: Option<String>,
}

/// The execution environment's properties from Lambda.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaEnvironment {
    /// The function's name.
    pub function_name: String,
    /// The function's version.
    pub function_version: String,
    /// Concurrent requests; at least 1.
    pub max_concurrency: usize,
    /// Provisioned concurrency: INIT can run hours before the first request.
    pub provisioned: bool,
}

impl Config {
    /// Reads the process's environment. Never fails: each part carries its own error.
    #[must_use]
    pub fn from_env() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads the configuration from any source of variables; see [`Config::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name| usable(lookup(name));
        let driver_variable = READ_BY_THE_DRIVER.into_iter().find(|name| lookup(name).is_some());
        Self {
            database: database(value, driver_variable),
            roles: roles(value),
            caller_share: number(CALLER_SHARE, value(CALLER_SHARE), 100, 100),
            log_level: log_level(value),
            lambda: LambdaEnvironment {
                function_name: value(AWS_LAMBDA_FUNCTION_NAME).unwrap_or_else(|| "local".to_owned()),
                function_version: value(AWS_LAMBDA_FUNCTION_VERSION).unwrap_or_else(|| "$LATEST".to_owned()),
                // The Lambda runtime also treats text that is not a number as 1, and both must agree.
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
    /// Returns `name:version` for `pg_stat_activity`, with the name cut so that PostgreSQL's 63 bytes still show the
    /// version.
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

/// Accepts only decimal digits, so that no sign, space or fraction counts as a number.
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
