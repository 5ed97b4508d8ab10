//! The configuration for given variables. Depends on: a lookup function only; no test sets a variable of the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use super::*;

const URL: (&str, &str) = ("DATABASE_URL", "postgres://notes:pw@db.example/notes");

fn config(variables: &[(&str, &str)]) -> Config {
    Config::from_lookup(|name| {
        variables
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn database_url_alone_is_enough() {
    let config = config(&[URL]);
    let database = config.database.unwrap();
    assert_eq!(database.url.endpoint(), "db.example:5432");
    assert_eq!(
        database.retry,
        RetryConfig {
            max_attempts: 5,
            base_delay: Duration::from_millis(50)
        }
    );
    assert_eq!(config.log_level, Ok(Level::INFO));
    assert_eq!(config.lambda.max_concurrency, 1);
    assert_eq!(config.lambda.application_name(), "local:$LATEST");
}

/// The error names the variable and does not show its value.
#[test]
fn bad_variable_spoils_only_its_part() {
    for (variable, value) in [
        ("DATABASE_URL", "mysql://zebra"),
        ("DATABASE_URL", "  "),
        ("MAX_RETRY_ATTEMPTS", "zebra"),
        ("MAX_RETRY_ATTEMPTS", "0"),
        ("MAX_RETRY_ATTEMPTS", "101"),
        ("MAX_RETRY_ATTEMPTS", "+5"),
        ("MAX_RETRY_ATTEMPTS", "99999999999999999999"),
        ("RETRY_DELAY_MS", "0"),
        ("RETRY_DELAY_MS", "1.5"),
        ("PGOPTIONS", "-c zebra=1"),
        ("PGSSLKEY", ""),
    ] {
        let config = config(&[(variable, value), URL]);
        let error = config.database.unwrap_err();
        assert_eq!(error.variable(), variable);
        assert!(error.to_string().starts_with(variable), "{error}");
        assert!(!error.to_string().contains("zebra"), "{error}");
        assert_eq!(config.log_level, Ok(Level::INFO));
    }
    assert_eq!(config(&[]).database.unwrap_err().variable(), "DATABASE_URL");
}

/// Variables that Lambda sets, and that no function's configuration can set.
const SET_BY_LAMBDA: &[&str] = &[
    AWS_REGION,
    AWS_LAMBDA_LOG_LEVEL,
    AWS_LAMBDA_FUNCTION_NAME,
    AWS_LAMBDA_FUNCTION_VERSION,
    AWS_LAMBDA_MAX_CONCURRENCY,
    AWS_LAMBDA_INITIALIZATION_TYPE,
];

#[test]
fn only_listed_variables_are_read() {
    let asked = std::cell::RefCell::new(Vec::new());
    let _ = Config::from_lookup(|name| {
        asked.borrow_mut().push(name.to_owned());
        (name == URL.0).then(|| URL.1.to_owned())
    });
    for name in asked.into_inner() {
        let name = name.as_str();
        let known = [VARIABLES, SET_BY_LAMBDA, &READ_BY_THE_DRIVER].concat();
        assert!(known.contains(&name), "{name} is read and not listed");
    }
}

#[test]
fn numbers_are_honoured_at_bounds() {
    let config = config(&[URL, ("MAX_RETRY_ATTEMPTS", "100"), ("RETRY_DELAY_MS", " 1 ")]);
    let expected = RetryConfig {
        max_attempts: 100,
        base_delay: Duration::from_millis(1),
    };
    assert_eq!(config.database.unwrap().retry, expected);
}

#[test]
fn log_level_falls_back_to_lambda() {
    let level = |variables: &[(&str, &str)]| config(variables).log_level;
    assert_eq!(
        level(&[("LOG_LEVEL", "Debug"), ("AWS_LAMBDA_LOG_LEVEL", "ERROR")]),
        Ok(Level::DEBUG)
    );
    assert_eq!(
        level(&[("LOG_LEVEL", ""), ("AWS_LAMBDA_LOG_LEVEL", "FATAL")]),
        Ok(Level::ERROR)
    );
    assert_eq!(level(&[("LOG_LEVEL", "loud")]).unwrap_err().variable(), "LOG_LEVEL");
}

#[test]
fn lambda_variables_are_read() {
    let lambda = config(&[
        ("AWS_LAMBDA_FUNCTION_NAME", "notes-get"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "16"),
    ])
    .lambda;
    assert_eq!(lambda.application_name(), "notes-get:7");
    assert_eq!(lambda.max_concurrency, 16);
    assert!(!lambda.provisioned);
    let provisioned = [("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")];
    assert!(config(&provisioned).lambda.provisioned);
    for other in ["0", "many", "-3"] {
        assert_eq!(
            config(&[("AWS_LAMBDA_MAX_CONCURRENCY", other)]).lambda.max_concurrency,
            1
        );
    }
}

/// The version remains visible in `pg_stat_activity`.
#[test]
fn long_function_name_keeps_version() {
    let name = "f".repeat(64);
    let lambda = config(&[
        ("AWS_LAMBDA_FUNCTION_NAME", &name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "123"),
    ])
    .lambda;
    assert_eq!(lambda.application_name(), format!("{}:123", "f".repeat(59)));
}

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf";

#[test]
fn secret_arn_alone_sets_the_region() {
    let database = config(&[("DATABASE_SECRET_ARN", ARN), ("AWS_REGION", "us-east-1")])
        .database
        .unwrap();
    let Login::Secret(source) = database.url.login() else {
        panic!("{:?}", database.url.login());
    };
    assert_eq!((source.region.as_str(), source.alone), ("eu-west-1", true));
    assert_eq!(source.endpoint, None);

    let database = config(&[
        ("DATABASE_SECRET_ARN", ARN),
        ("DATABASE_URL", "postgres://db.example/notes?connection_limit=3"),
        ("AWS_ENDPOINT_URL", "http://one"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://two"),
    ]);
    let url = database.database.unwrap().url;
    assert_eq!(url.connection_limit(), Some(3));
    assert_eq!(url.target(), "db.example:5432/notes");
    let Login::Secret(source) = url.login() else {
        panic!("{:?}", url.login());
    };
    assert_eq!((source.endpoint.as_deref(), source.alone), (Some("http://two"), false));
}

#[test]
fn iam_needs_user_region_and_tls() {
    let url = |text: &str| {
        config(&[
            ("DATABASE_IAM_AUTH", "true"),
            ("AWS_REGION", "eu-west-1"),
            ("DATABASE_URL", text),
        ])
        .database
        .map(|database| database.url)
    };
    for address in [
        "db.example/notes",
        "db.example/notes?sslmode=verify-full",
        // The end of a tunnel.
        "localhost/notes?sslmode=require",
    ] {
        let url = url(&format!("postgres://notes@{address}")).unwrap();
        let region = "eu-west-1".to_owned();
        assert_eq!(url.login(), &Login::Iam { region });
    }
    for (text, parameter) in [
        ("postgres://notes@localhost/notes", Some("sslmode")),
        ("postgres://notes@db.example/notes?sslmode=prefer", Some("sslmode")),
        ("postgres://notes@db.example/notes?sslmode=require", Some("sslmode")),
        ("postgres://notes@db.example/notes?sslmode=verify-ca", Some("sslmode")),
        ("postgres://notes@/notes?host=/tmp&sslmode=require", Some("sslmode")),
        ("postgres://notes:zebra@db.example/notes?sslmode=verify-full", None),
        ("postgres://db.example/notes?sslmode=verify-full", None),
        ("postgres://notes@a,b/notes?sslmode=verify-full", None),
    ] {
        let error = url(text).unwrap_err();
        assert_eq!(
            (error.variable(), error.parameter()),
            ("DATABASE_URL", parameter),
            "{text}"
        );
        assert!(!error.to_string().contains("zebra"));
    }
}

#[test]
fn contradictory_login_is_refused() {
    let full = (
        "DATABASE_URL",
        "postgres://notes:zebra@db.example/notes?sslmode=verify-full",
    );
    for (variables, named) in [
        (vec![("DATABASE_SECRET_ARN", "notes/zebra")], "DATABASE_SECRET_ARN"),
        (
            vec![("DATABASE_SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:1:secret:")],
            "DATABASE_SECRET_ARN",
        ),
        (vec![("DATABASE_SECRET_ARN", ARN), full], "DATABASE_URL"),
        (
            vec![("DATABASE_SECRET_ARN", ARN), ("DATABASE_IAM_AUTH", "true")],
            "DATABASE_IAM_AUTH",
        ),
        (vec![("DATABASE_IAM_AUTH", "yes"), full], "DATABASE_IAM_AUTH"),
        (vec![("DATABASE_IAM_AUTH", "true"), full], "AWS_REGION"),
        (
            vec![("DATABASE_IAM_AUTH", "true"), ("AWS_REGION", "eu-west-1")],
            "DATABASE_URL",
        ),
    ] {
        let error = config(&variables).database.unwrap_err();
        assert_eq!(error.variable(), named, "{variables:?}: {error}");
        assert!(!error.to_string().contains("zebra"), "{error}");
    }
}
