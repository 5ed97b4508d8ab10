//! Mutated connection strings and secrets: nothing panics, no secret is shown, and an accepted string means the same if
//! it is written again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use local::mutation;

use super::tests::encoded;
use super::*;
use crate::config::SecretSource;

/// Replaced by the secret after a mutation, so that the secret is moved as a whole.
const PLACEHOLDER: char = '\u{E000}';

/// Too long to occur in a message by chance, and a word that could be a parameter's name.
const SECRET: &str = "q7RmZt4XwK9s";

/// Every form of a connection string, and every parameter; `PW` is the secret.
const URLS: [&str; 12] = [
    "postgres://notes:PW@db.example:6543/notes?schema=team&connection_limit=2&pool_timeout=10&connect_timeout=4",
    "postgresql://notes:PW@a.example,b.example:5433,[2001:db8::1]:6000/notes?sslmode=verify-full&socket_timeout=20",
    "postgres://notes:PW@%2Fvar%2Frun%2Fpostgresql:6000/notes?schema=PW",
    "postgres://notes:PW@/notes?host=/var/run/postgresql&port=6000&application_name=PW",
    "postgres://notes:PW@/notes?host=a,::1&port=1,2&pgbouncer=true&statement_cache_size=50",
    "postgres://se%20er%C3%A9:PW@[::1]/my%2Fdb?application_name=my%20app&schema=My%20'team'%5Cx",
    "postgres://notes:PW@127.0.0.1/notes?sslmode=require&sslrootcert=/PW/ca.pem&sslcert=PW.pem&sslkey=PW.pem",
    "postgres://notes:PW@localhost/notes?options=-c%20x%3DPW&channel_binding=require&sslpassword=PW&gssencmode=x",
    "postgres://notes:x%40PW%3A%2F%3F%23@db.example/notes?sslmode=disable",
    "postgres://notes@db.example/notes?sslmode=verify-full",
    "postgres://db.example/notes?sslmode=verify-full",
    "postgres:///?connection_limit=2",
];

/// Every form of a secret.
const SECRETS: [&str; 6] = [
    r#"{"username": "notes", "password": "PW"}"#,
    r#"{"username": "notes", "password": "x\"PW\\", "engine": "postgres", "port": 6543, "host": "h", "dbname": "d"}"#,
    r#"{"username": "notes", "password": "PW", "port": "6543", "host": "::1", "dbname": "d", "url": null}"#,
    r#"{"DATABASE_URL": "postgres://notes:PW@db.example:6543/notes"}"#,
    r#"{"url": "postgresql://notes:PW@a,b/notes?sslmode=verify-full&sslrootcert=PW"}"#,
    "postgres://notes:PW@db.example/notes?sslcert=PW&sslkey=PW",
];

fn corpus(texts: &[&str]) -> Vec<String> {
    let placeholder = PLACEHOLDER.to_string();
    texts.iter().map(|text| text.replace("PW", &placeholder)).collect()
}

/// Returns a mutated text; one of a hundred is very long.
fn mutated(case: u64, corpus: &[String]) -> String {
    let text = mutation::mutated(case, corpus);
    let text = if case % 100 == 99 { text.repeat(1_000) } else { text };
    text.replace(PLACEHOLDER, SECRET)
}

fn logins() -> [Login; 4] {
    let source = |alone| {
        Login::Secret(SecretSource {
            arn: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: None,
            alone,
        })
    };
    let iam = Login::Iam {
        region: "eu-west-1".to_owned(),
    };
    [Login::Url, iam, source(true), source(false)]
}

fn shown(result: &Result<DatabaseUrl, ConfigError>) -> String {
    match result {
        Ok(url) => format!("{url:?} {url:#?} {} {}", url.target(), url.endpoint()),
        Err(error) => format!("{error} {error:?}"),
    }
}

/// Returns whether each occurrence of the secret is in the password or in a parameter's value.
fn is_hidden(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return true;
    };
    rest.match_indices(SECRET).all(|(at, _)| {
        let (before, after) = rest.split_at(at);
        let in_password = before.contains(':') && after.contains('@');
        let parameter = before.split_once('?').and_then(|(_, query)| query.rsplit('&').next());
        // The hosts are shown, and so is the name of an unknown parameter.
        let in_value = parameter.is_some_and(|parameter| parameter.contains('=') && !parameter.starts_with("host="));
        in_password || in_value
    })
}

/// Writes a URL in one form of many with the same meaning.
fn written(url: &DatabaseUrl) -> String {
    let hosts = url.servers().into_iter().map(|server| {
        let (host, port) = server.address();
        match host {
            _ if host.contains(':') && !server.is_socket() => format!("[{host}]:{port}"),
            _ => format!("{}:{port}", encoded(host)),
        }
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let Parameters {
        schema,
        host: _,
        ports: _,
        connection_limit,
        pool_timeout,
        connect_timeout,
        socket_timeout,
        pgbouncer,
        statement_cache_size,
        application_name,
        ssl_mode,
        ssl_root_cert,
        ssl_client,
    } = &url.parameters;
    let seconds = |timeout: &Option<Duration>| Some(timeout.unwrap_or_default().as_secs().to_string());
    let mode = ssl_mode.as_ref().map(|mode| match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    });
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let parameters = [
        ("schema", schema.clone()),
        ("connection_limit", connection_limit.map(|limit| limit.to_string())),
        ("pool_timeout", seconds(pool_timeout)),
        ("connect_timeout", seconds(connect_timeout)),
        ("socket_timeout", seconds(socket_timeout)),
        ("pgbouncer", Some(pgbouncer.to_string())),
        ("statement_cache_size", Some(statement_cache_size.to_string())),
        ("application_name", application_name.clone()),
        ("sslmode", mode.map(str::to_owned)),
        ("sslrootcert", ssl_root_cert.as_deref().map(path)),
        ("sslcert", ssl_client.as_ref().map(|(certificate, _)| path(certificate))),
        ("sslkey", ssl_client.as_ref().map(|(_, key)| path(key))),
    ];
    let parameters = parameters.into_iter().filter_map(|(name, value)| {
        let value = encoded(&value?);
        Some(format!("{name}={value}"))
    });
    format!(
        "postgres://{}:{}@{hosts}/{}?{}",
        encoded(url.user()),
        encoded(url.location.password.as_deref().unwrap_or_default()),
        encoded(url.database()),
        parameters.collect::<Vec<_>>().join("&")
    )
}

/// The driver gets the parts as they were parsed.
fn reaches_the_driver(url: &DatabaseUrl) {
    // It would read the file.
    if url.ssl_root_cert().is_some() {
        return;
    }
    for server in url.servers() {
        let options = server.connect_options("x");
        assert_eq!((options.get_host(), options.get_port()), server.address());
        assert_eq!(options.get_username(), url.user());
        assert_eq!(options.get_database(), Some(url.database()));
    }
}

#[test]
fn mutated_urls_are_safe() {
    let (corpus, logins) = (corpus(&URLS), logins());
    let (cases, mut accepted) = (mutation::cases(4_000), 0);
    for case in 0..cases {
        let text = mutated(case, &corpus);
        // Five of eight with a user and a password.
        let login = &logins[(case as usize % 8).saturating_sub(4)];
        let result = DatabaseUrl::parse_for(&text, login.clone());
        let shown = shown(&result);
        assert!(
            !is_hidden(&text) || !shown.contains(SECRET),
            "case {case}: {text:?} shows {shown}"
        );
        let Ok(url) = result else { continue };
        accepted += 1;
        reaches_the_driver(&url);
        if matches!(login, Login::Url) {
            let form = written(&url);
            let again = DatabaseUrl::parse(&form);
            let again = again.unwrap_or_else(|error| panic!("case {case}: {text:?} is {form:?}: {error}"));
            assert_eq!(written(&again), form, "case {case}: {text:?}");
        }
    }
    eprintln!("{cases} connection strings: {accepted} accepted");
    assert!(accepted > cases / 50, "most mutations are of no use");
}

#[test]
fn mutated_secrets_are_safe() {
    let (corpus, logins) = (corpus(&SECRETS), logins());
    let urls = ["postgres:///?sslmode=verify-full", "postgres://db.example/notes"];
    for case in 0..mutation::cases(4_000) {
        let secret = mutated(case, &corpus);
        let login = &logins[2 + case as usize % 2];
        let url = DatabaseUrl::parse_for(urls[case as usize / 2 % urls.len()], login.clone()).unwrap();
        match url.with_secret(&secret) {
            Ok(complete) => {
                assert_eq!(complete.login(), &Login::Url);
                reaches_the_driver(&complete);
            }
            // The name of an unknown parameter is shown.
            Err(_) if secret.contains('?') && !is_hidden(&secret) => {}
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(SECRET), "case {case}: {secret:?} shows {shown}");
            }
        }
    }
}
