//! The secret's format, and how it completes `DATABASE_URL`.
//!
//! The secret provides user and password. `DATABASE_URL`, if set, provides address and parameters; host, port and
//! database that it leaves out come from the secret. A connection string in a secret is parsed by the rules of
//! `DATABASE_URL` itself, but it can only define how to reach the server: the pool is created before the secret is
//! read.
//!
//! Invariants: errors never show a value; they name the field.

use serde_json::{Map, Value};

use super::location::{DEFAULT_PORT, Location, is_name};
use super::parameters::{Parameters, names};
use super::{DatabaseUrl, Login};
use crate::config::ConfigError;

/// The parameters that a connection string in a secret can have.
const ON_THE_WAY: [&str; 6] = ["host", "port", "sslcert", "sslkey", "sslmode", "sslrootcert"];

/// Keys under which a JSON secret can contain a whole connection string.
const CONNECTION_STRING: [&str; 2] = ["DATABASE_URL", "url"];

/// The URL if `DATABASE_URL` is not set: secrets are used in production, where the server must be verified.
pub(in crate::config) const ALONE: &str = "postgres://?sslmode=verify-full";

impl DatabaseUrl {
    /// Completes this URL with a secret's text: a connection string, JSON with one under `DATABASE_URL` or `url`, or
    /// JSON as RDS writes it, with `username` and `password` and, if this URL leaves them out, `host`, `port` and
    /// `dbname`.
    ///
    /// # Errors
    /// Fails with the missing or malformed field, never its value.
    pub fn with_secret(&self, secret: &str) -> Result<Self, ConfigError> {
        let alone = matches!(&self.login, Login::Secret(source) if source.alone);
        let said = read(secret.trim(), alone)?;
        let mut location = said.location;
        if !self.location.host.is_empty() {
            location.host.clone_from(&self.location.host);
            location.port = self.location.port;
            location.others.clone_from(&self.location.others);
        }
        if !self.location.database.is_empty() {
            location.database.clone_from(&self.location.database);
        }
        for (missing, field) in [(&location.host, "host"), (&location.database, "dbname")] {
            if missing.is_empty() {
                return Err(wrong(format!(
                    "the secret has no field {field}, and DATABASE_URL does not say it either: set DATABASE_URL to \
                     postgres://HOST:5432/DATABASE?sslmode=verify-full"
                )));
            }
        }
        let whole = Self {
            location,
            parameters: said.parameters.unwrap_or_else(|| self.parameters.clone()),
            login: self.login.clone(),
        };
        // The host may be the secret's.
        whole.check_credential_is_safe().map_err(ConfigError::of_secret)?;
        Ok(Self {
            login: Login::Url,
            ..whole
        })
    }
}

struct Said {
    location: Location,
    parameters: Option<Parameters>,
}

fn read(secret: &str, alone: bool) -> Result<Said, ConfigError> {
    if secret.starts_with("postgres") {
        return connection_string(secret, alone);
    }
    let fields: Map<String, Value> = serde_json::from_str(secret).map_err(|error| {
        // The library's own message may contain a piece of the secret.
        let (line, column) = (error.line(), error.column());
        wrong(format!(
            "the secret is neither a connection string nor a JSON object (line {line}, column {column})"
        ))
    })?;
    for key in CONNECTION_STRING {
        if let Some(whole) = text(&fields, key)? {
            return connection_string(whole, alone);
        }
    }
    if text(&fields, "engine")?.is_some_and(|engine| !engine.contains("postgres")) {
        return Err(wrong("the secret's field engine must be postgres or aurora-postgresql"));
    }
    let needed = |field| text(&fields, field)?.ok_or_else(|| wrong(format!("the secret has no field {field}")));
    let location = Location {
        user: needed("username")?.to_owned(),
        password: Some(needed("password")?.to_owned()),
        host: host(text(&fields, "host")?.unwrap_or_default())?.to_owned(),
        port: port(fields.get("port"))?,
        others: Vec::new(),
        database: text(&fields, "dbname")?.unwrap_or_default().to_owned(),
    };
    Ok(Said {
        location,
        parameters: None,
    })
}

fn connection_string(whole: &str, alone: bool) -> Result<Said, ConfigError> {
    let parameters = |query: &str| {
        let given = names(query)?;
        let allowed: &[&str] = if alone { &ON_THE_WAY } else { &[] };
        if let Some(name) = given.iter().find(|name| !allowed.contains(name)) {
            return Err(ConfigError::parameter_of_url(
                name,
                "stands in the variable DATABASE_URL, such as postgres:///?sslmode=verify-full&connection_limit=2, \
                 not in the secret, which is read after the pool is made",
            ));
        }
        Parameters::parse(query)
    };
    let whole = DatabaseUrl::read(whole, Login::Url, parameters).map_err(ConfigError::of_secret)?;
    Ok(Said {
        location: whole.location,
        parameters: alone.then_some(whole.parameters),
    })
}

/// Returns a field's text; `None` if it is absent, null or empty.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ConfigError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        // In PostgreSQL's start-up message a NUL ends a text, and the rest would become another setting.
        Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(wrong(format!("the secret's field {name} must be text without NUL"))),
    }
}

fn host(text: &str) -> Result<&str, ConfigError> {
    if is_name(text) || text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(text);
    }
    Err(wrong("the secret's field host must be a host's name or address"))
}

/// Parses a number, or digits as text; both occur.
fn port(value: Option<&Value>) -> Result<u16, ConfigError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(DEFAULT_PORT),
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    number
        .filter(|port| *port > 0)
        .ok_or_else(|| wrong("the secret's field port must be a whole number from 1 to 65535"))
}

fn wrong(problem: impl Into<String>) -> ConfigError {
    ConfigError::new(super::super::DATABASE_SECRET_ARN, problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use sqlx::postgres::PgSslMode;

    use super::*;
    use crate::config::SecretSource;

    /// Returns `DATABASE_URL` as a secret completes it; `None` if it is not set.
    fn url(text: Option<&str>) -> DatabaseUrl {
        let source = SecretSource {
            arn: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: None,
            alone: text.is_none(),
        };
        DatabaseUrl::parse_for(text.unwrap_or(ALONE), Login::Secret(source)).unwrap()
    }

    fn shown(url: &DatabaseUrl) -> String {
        let password = url.location.password.as_deref().unwrap();
        format!("{}:{password}@{}", url.user(), url.target())
    }

    const MANAGED_BY_RDS: &str = r#"{"username": "notes", "password": "p@:/?#%"}"#;
    const WRITTEN_BY_RDS: &str = r#"{"username": "notes", "password": "p@:/?#%", "engine": "postgres", "port": 6543,
        "host": "db.example", "dbname": "app", "dbInstanceIdentifier": "notes"}"#;

    #[test]
    fn secret_and_url_complete_each_other() {
        for (given, secret, expected) in [
            (None, WRITTEN_BY_RDS, "notes:p@:/?#%@db.example:6543/app"),
            (Some("postgres://other:1/x"), WRITTEN_BY_RDS, "notes:p@:/?#%@other:1/x"),
            (Some("postgres:///x"), WRITTEN_BY_RDS, "notes:p@:/?#%@db.example:6543/x"),
            (Some("postgres://other"), WRITTEN_BY_RDS, "notes:p@:/?#%@other:5432/app"),
            (Some("postgres://other/x"), MANAGED_BY_RDS, "notes:p@:/?#%@other:5432/x"),
            (None, " postgres://u:p%40@h:1/d \n", "u:p@@h:1/d"),
            (None, r#"{"DATABASE_URL": "postgresql://u:p@h/d"}"#, "u:p@h:5432/d"),
            (None, r#"{"url": "postgres://u:p@h/d", "username": ""}"#, "u:p@h:5432/d"),
            (
                None,
                r#"{"username":"u","password":"p","host":"h","dbname":"d","port":"7"}"#,
                "u:p@h:7/d",
            ),
            (Some("postgres:///x?schema=s"), "postgres://u:p@h/d", "u:p@h:5432/x"),
            (Some("postgres://a,b:1/x"), WRITTEN_BY_RDS, "notes:p@:/?#%@a:5432,b:1/x"),
            (Some("postgres:///x"), "postgres://u:p@a,b:1/d", "u:p@a:5432,b:1/x"),
        ] {
            let complete = url(given).with_secret(secret).unwrap();
            assert_eq!(shown(&complete), expected, "{given:?} {secret}");
            assert_eq!(complete.login(), &Login::Url);
        }
    }

    #[test]
    fn secret_defaults_to_verify_full() {
        let mode = |given, secret: &str| url(given).with_secret(secret).map(|complete| complete.ssl_mode());
        for (given, secret) in [
            (None, WRITTEN_BY_RDS),
            (None, "postgres://u:p@h/d"),
            (Some("postgres:///"), WRITTEN_BY_RDS),
        ] {
            assert!(matches!(mode(given, secret), Ok(PgSslMode::VerifyFull)), "{secret}");
        }
        // The password would go to a server that does not prove its identity.
        for (given, secret) in [
            (None, "postgres://u:p@h/d?sslmode=disable"),
            (None, "postgres://u:p@127.0.0.1,h/d?sslmode=prefer"),
            (Some("postgres:///?sslmode=require"), WRITTEN_BY_RDS),
            (Some("postgres:///?sslmode=verify-ca"), "postgres://u:p@h/d"),
        ] {
            assert_eq!(
                mode(given, secret).unwrap_err().parameter(),
                Some("sslmode"),
                "{secret}"
            );
        }
        let here = mode(None, "postgres://u:p@127.0.0.1/d?sslmode=disable");
        assert!(matches!(here, Ok(PgSslMode::Disable)));
    }

    #[test]
    fn parameters_come_from_variable() {
        let given = Some("postgres:///?connection_limit=3&pgbouncer=true");
        let complete = url(given).with_secret(WRITTEN_BY_RDS).unwrap();
        assert_eq!(complete.connection_limit(), Some(3));
        assert!(complete.is_pooled());
    }

    #[test]
    fn bad_secret_is_named_but_not_shown() {
        for (given, secret, named) in [
            (None, "", "neither a connection string nor a JSON object (line 1"),
            (None, "zebra", "neither a connection string nor a JSON object"),
            (None, "[\"zebra\"]", "neither a connection string nor a JSON object"),
            (None, r#"{"password": "zebra"}"#, "no field username"),
            (None, r#"{"username": "zebra"}"#, "no field password"),
            (
                None,
                r#"{"username": "u", "password": 12345}"#,
                "field password must be text",
            ),
            (
                None,
                r#"{"username": "u", "password": "zebra\u0000"}"#,
                "field password must be text",
            ),
            (None, r#"{"username": "u", "password": "zebra"}"#, "no field host"),
            (
                None,
                r#"{"username": "u", "password": "zebra", "host": "h"}"#,
                "no field dbname",
            ),
            (
                None,
                r#"{"username": "u", "password": "p", "host": "zebra/", "dbname": "d"}"#,
                "field host",
            ),
            (
                None,
                r#"{"username": "u", "password": "p", "host": "h", "dbname": "d", "port": 0}"#,
                "field port",
            ),
            (
                None,
                r#"{"username": "u", "password": "zebra", "engine": "mysql"}"#,
                "field engine must be postgres",
            ),
            (
                None,
                r#"{"url": "mysql://zebra"}"#,
                "the secret's connection string must begin with postgres://",
            ),
            (
                None,
                "postgres://h/zebra",
                "the secret's connection string names no user",
            ),
            (
                None,
                "postgres://u:zebra@h/d?connection_limit=1",
                "parameter connection_limit: stands in the variable DATABASE_URL",
            ),
            (None, "postgres://u:p@h/d?sslmode=zebra", "parameter sslmode: must be"),
            (
                Some("postgres:///d"),
                "postgres://u:zebra@h/d?sslmode=require",
                "parameter sslmode: stands in the variable DATABASE_URL",
            ),
        ] {
            let error = url(given).with_secret(secret).unwrap_err();
            assert_eq!(error.variable(), "DATABASE_SECRET_ARN", "{secret}: {error}");
            let line = error.to_string();
            assert!(line.contains(named) && !line.contains("zebra"), "{secret}: {line}");
        }
    }
}
