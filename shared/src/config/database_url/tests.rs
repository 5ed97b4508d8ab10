//! Correct and incorrect `DATABASE_URL`s: the effect of each parameter; no error repeats a value.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write;

use local::mutation;

use super::parameters::NAMES;
use super::*;

fn with(query: &str) -> Result<DatabaseUrl, ConfigError> {
    DatabaseUrl::parse(&format!("postgres://notes:pw@db.example/notes?{query}"))
}

fn options(query: &str) -> PgConnectOptions {
    with(query).unwrap().connect_options("notes-get:7")
}

pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02x}").unwrap();
        }
        encoded
    })
}

#[test]
fn url_parts_reach_the_driver() {
    for scheme in ["postgres", "postgresql"] {
        let url = DatabaseUrl::parse(&format!(
            "{scheme}://se%20er:p%40%3A%2F%3F%23%25+@db.example:6543/my%2Fdb\n"
        ));
        let url = url.unwrap();
        assert_eq!(url.location.password.as_deref(), Some("p@:/?#%+"));
        let options = url.connect_options("notes-get:7");
        assert_eq!(options.get_host(), "db.example");
        assert_eq!(options.get_port(), 6543);
        assert_eq!(options.get_username(), "se er");
        assert_eq!(options.get_database(), Some("my/db"));
        assert_eq!(options.get_application_name(), Some("notes-get:7"));
        assert_eq!(options.get_options(), None);
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    }
}

#[test]
fn network_defaults_to_verify_full() {
    for (hosts, verified) in [
        ("h", true),
        ("10.0.0.1", true),
        ("localhost.example.com", true),
        ("127.0.0.1.example.com", true),
        ("localhost", false),
        ("LocalHost", false),
        ("127.0.0.1", false),
        ("127.9.9.9", false),
        ("[::1]", false),
    ] {
        let url = DatabaseUrl::parse(&format!("postgres://u@{hosts}/d")).unwrap();
        assert_eq!(matches!(url.ssl_mode(), PgSslMode::VerifyFull), verified, "{hosts}");
        assert!(url.is_verified(), "{hosts}");
    }
    // Each of several servers has its own default.
    let url = DatabaseUrl::parse("postgres://u@localhost,h/d").unwrap();
    let modes: Vec<_> = url.servers().iter().map(DatabaseUrl::ssl_mode).collect();
    assert!(matches!(modes[..], [PgSslMode::Prefer, PgSslMode::VerifyFull]));
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let url = DatabaseUrl::parse(&format!("postgres://u@localhost,h/d?sslmode={mode}")).unwrap();
        assert!(!url.is_verified(), "{mode}");
    }
}

#[test]
fn every_host_kind_parses() {
    for (text, host, endpoint) in [
        ("u@localhost/d", "localhost", "localhost:5432"),
        ("u@10.0.0.1:1/d", "10.0.0.1", "10.0.0.1:1"),
        ("u@[::1]/d", "::1", "[::1]:5432"),
        ("u:p@[2001:DB8:0::1]:6000/d", "2001:db8::1", "[2001:db8::1]:6000"),
        ("u@%2Fvar%2Frun:6000/d", "/var/run", "the Unix socket .s.PGSQL.6000"),
        ("u@/d?host=/var/run", "/var/run", "the Unix socket .s.PGSQL.5432"),
        (
            "u@localhost:6000/d?host=/var/run",
            "/var/run",
            "the Unix socket .s.PGSQL.6000",
        ),
    ] {
        let url = DatabaseUrl::parse(&format!("postgres://{text}")).unwrap();
        assert_eq!(url.connect_options("x").get_host(), host);
        assert_eq!(url.endpoint(), endpoint);
    }
    let socket = DatabaseUrl::parse("postgres://u@%2Frun/d?sslmode=require")
        .unwrap()
        .connect_options("x");
    assert!(matches!(socket.get_ssl_mode(), PgSslMode::Disable));
}

#[test]
fn servers_keep_their_order() {
    let url = DatabaseUrl::parse("postgres://u@a,b:5433,[::1]:6000/d?sslmode=verify-full").unwrap();
    assert_eq!(url.endpoint(), "a:5432,b:5433,[::1]:6000");
    assert_eq!(url.target(), "a:5432,b:5433,[::1]:6000/d");
    let servers = url.servers();
    let endpoints: Vec<_> = servers.iter().map(DatabaseUrl::endpoint).collect();
    assert_eq!(endpoints, ["a:5432", "b:5433", "[::1]:6000"]);
    for (server, host) in servers.iter().zip(["a", "b", "::1"]) {
        let options = server.connect_options("x");
        assert_eq!(options.get_host(), host);
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    }
    assert_eq!(with("").unwrap().servers().len(), 1);
    // As libpq accepts them in parameters.
    for (query, endpoint) in [
        ("host=a,b", "a:5432,b:5432"),
        ("host=a,b&port=1", "a:1,b:1"),
        ("port=1,2&host=a,::1", "a:1,[::1]:2"),
    ] {
        let url = DatabaseUrl::parse(&format!("postgres://u@/d?{query}")).unwrap();
        assert_eq!(url.endpoint(), endpoint);
    }
}

#[test]
fn nonsense_url_is_refused() {
    for text in [
        "",
        "postgres",
        "http://u@h/d",
        "\"postgres://u@h/d\"",
        "postgres://h/d",
        "postgres://:p@h/d",
        "postgres://u@h",
        "postgres://u@h/",
        "postgres://u@/d",
        "postgres://u@h:0/d",
        "postgres://u@h:65536/d",
        "postgres://u@h:+1/d",
        "postgres://u@h:x/d",
        "postgres://u@::1/d",
        "postgres://u@[::1/d",
        "postgres://u@[::1]5432/d",
        "postgres://u@[h]/d",
        "postgres://u@a,/d",
        "postgres://u@,b/d",
        "postgres://u@a,b:0/d",
        "postgres://u@%2Frun,b/d",
        "postgres://u@a,%2Frun/d",
        "postgres://u@a/d?host=b",
        "postgres://u@a/d?port=1",
        "postgres://u@/d?host=a,",
        "postgres://u@/d?host=a:1",
        "postgres://u@/d?host=a,/run",
        "postgres://u@/d?host=/run&port=1,2",
        "postgres://u@/d?host=a&port=0",
        "postgres://u@/d?host=a,b,c&port=1,2",
        "postgres://u@h h/d",
        "postgres://u@h/d/e",
        "postgres://u@h/d#e",
        "postgres://u:a/b@h/d",
        "postgres://u:1?b@h/d",
        "postgres://u:1#b@h/d",
        "postgres://u:a\nb@h/d",
        "postgres://u:100%@h/d",
        "postgres://u:%zz@h/d",
        "postgres://u:%+1@h/d",
        "postgres://u:%ff@h/d",
        "postgres://u%00database%00x@h/d",
    ] {
        assert!(DatabaseUrl::parse(text).is_err(), "{text:?} was taken");
    }
}

#[test]
fn numbers_are_honoured_at_bounds() {
    let url = with("connection_limit=7&pool_timeout=10&connect_timeout=4&socket_timeout=86400").unwrap();
    assert_eq!(url.connection_limit(), Some(7));
    assert_eq!(url.pool_timeout(), Some(Duration::from_secs(10)));
    assert_eq!(url.connect_timeout(), Some(Duration::from_secs(4)));
    assert_eq!(url.socket_timeout(), Some(Duration::from_secs(86_400)));

    let url = with("pool_timeout=0&connect_timeout=0&socket_timeout=0").unwrap();
    assert_eq!(
        (url.pool_timeout(), url.connect_timeout(), url.socket_timeout()),
        (None, None, None)
    );

    let url = with("").unwrap();
    assert_eq!(url.connection_limit(), None);
    assert_eq!(url.pool_timeout(), Some(Duration::from_secs(8)));
    assert_eq!(url.connect_timeout(), Some(Duration::from_secs(3)));
    assert_eq!(url.socket_timeout(), None);
}

#[test]
fn schema_is_quoted_for_both_uses() {
    let url = with("schema=My%20'team'%5Cx").unwrap();
    assert_eq!(url.search_path().unwrap(), r#""My 'team'\x""#);
    assert_eq!(
        url.connect_options("x").get_options(),
        Some(r#"-c search_path="My\ 'team'\\x""#)
    );
}

#[test]
fn pooler_gets_no_options_or_statements() {
    let url = with("pgbouncer=true&schema=team").unwrap();
    assert!(url.is_pooled());
    assert_eq!(url.search_path().unwrap(), "\"team\"");
    assert_eq!(url.connect_options("x").get_options(), None);
    assert_eq!(url.statement_cache_size(), 0);

    let url = with("pgbouncer=false").unwrap();
    assert!(!url.is_pooled());
    assert_eq!(url.statement_cache_size(), 100);
    assert_eq!(
        with("statement_cache_size=0").unwrap().parameters.statement_cache_size,
        0
    );
    let keeps = with("statement_cache_size=50&pgbouncer=true").unwrap();
    assert!(keeps.is_pooled());
    assert_eq!(keeps.statement_cache_size(), 50);
}

#[test]
fn tls_mode_is_never_weakened() {
    for (query, expected) in [
        ("sslmode=disable", PgSslMode::Disable),
        ("sslmode=allow", PgSslMode::Prefer),
        ("sslmode=prefer", PgSslMode::Prefer),
        ("sslmode=require", PgSslMode::Require),
        ("sslmode=require&sslrootcert=ca.pem", PgSslMode::VerifyCa),
        ("sslmode=verify-ca&sslrootcert=ca.pem", PgSslMode::VerifyCa),
        ("sslrootcert=ca.pem&sslmode=verify-full", PgSslMode::VerifyFull),
        ("sslrootcert=ca.pem", PgSslMode::VerifyFull),
        ("", PgSslMode::VerifyFull),
    ] {
        let mode = options(query).get_ssl_mode();
        assert_eq!(format!("{mode:?}"), format!("{expected:?}"), "{query}");
    }
    for query in [
        "sslrootcert=ca.pem&sslmode=prefer",
        "sslrootcert=system&sslmode=verify-full",
    ] {
        assert_eq!(parameter_at_fault(query), "sslrootcert");
    }
    assert_eq!(parameter_at_fault("sslmode=require&sslcert=client.pem"), "sslcert");
    assert_eq!(parameter_at_fault("sslmode=require&sslkey=client.pem"), "sslkey");

    let files = "sslmode=verify-full&sslrootcert=ca.pem&sslcert=client.pem&sslkey=key.pem";
    let shown = format!("{:?}", options(files));
    for file in ["ca.pem", "client.pem", "key.pem"] {
        assert!(shown.contains(file), "{file} did not reach the driver");
    }
}

#[test]
fn rds_roots_apply_unless_replaced() {
    let roots = format!("{:?}", authorities::RDS_ROOTS.as_bytes());
    for (query, expected) in [
        ("sslmode=verify-full", true),
        ("sslmode=verify-ca", true),
        ("sslmode=verify-full&sslrootcert=ca.pem", false),
    ] {
        let shown = format!("{:?}", options(query));
        assert_eq!(shown.contains(&roots), expected, "{query}");
    }
}

#[test]
fn url_application_name_wins() {
    assert_eq!(
        options("application_name=my%20app").get_application_name(),
        Some("my app")
    );
}

fn parameter_at_fault(query: &str) -> String {
    let error = with(query).err().unwrap_or_else(|| panic!("{query} was taken"));
    error
        .parameter()
        .unwrap_or_else(|| panic!("{error} names no parameter"))
        .to_owned()
}

#[test]
fn malformed_value_names_parameter() {
    for (name, values) in [
        ("schema", &["", "a%00b", "a%0Ab", "%ff", &"s".repeat(64)][..]),
        (
            "connection_limit",
            &["", "0", "1001", "-1", "+1", "1.5", "1e2", "zebra", "99999999999"],
        ),
        ("pool_timeout", &["", "-1", "86401", "1s", "zebra"]),
        (
            "schema",
            &[
                "",
                "public,other",
                "\"x\"",
                "%22$user%22,public",
                "a%09b",
                &"a".repeat(64),
            ],
        ),
        ("connect_timeout", &["-1", "86401"]),
        ("socket_timeout", &["-1", "86401"]),
        ("pgbouncer", &["", "1", "TRUE", "yes"]),
        ("statement_cache_size", &["-1", "10001"]),
        ("sslmode", &["", "verify", "VERIFY-FULL", "no-verify"]),
        ("application_name", &["", "caf%C3%A9", &"a".repeat(64)]),
        ("host", &["", "db.example", "relative/path"]),
    ] {
        for value in values {
            assert_eq!(parameter_at_fault(&format!("{name}={value}")), name);
        }
    }
    assert_eq!(parameter_at_fault("schema"), "schema");
    assert_eq!(parameter_at_fault("schema=a&schema=a"), "schema");
}

#[test]
fn unknown_parameter_suggests_nearest() {
    for (name, nearest) in [
        ("conection_limit", "connection_limit"),
        ("pool_timout", "pool_timeout"),
        ("connectTimeout", "connect_timeout"),
        ("SSLMODE", "sslmode"),
        ("pg_bouncer", "pgbouncer"),
        ("shema", "schema"),
        ("applicationname", "application_name"),
        ("statement_cache_capacity", "statement_cache_size"),
    ] {
        let error = with(&format!("{name}=1")).unwrap_err();
        assert_eq!(error.parameter(), Some(name));
        assert!(
            error.to_string().ends_with(&format!("did you mean {nearest}?")),
            "{error}"
        );
    }
    let error = with("wibble=1").unwrap_err().to_string();
    assert!(NAMES.iter().all(|known| error.contains(known)), "{error}");
}

#[test]
fn foreign_parameter_gets_advice() {
    for (parameter, says) in [
        ("sslaccept=strict", "sslmode=verify-full"),
        ("sslidentity=x", "sslkey"),
        ("sslpassword=x", "sslkey"),
        ("ssl=true", "sslmode"),
        ("uselibpqcompat=true", "leave it out"),
        ("channel_binding=require", "leave it out"),
        ("gssencmode=disable", "leave it out"),
        ("sslcrl=x.pem", "leave it out"),
        ("sslsni=1", "leave it out"),
        ("sslnegotiation=direct", "leave it out"),
        ("client_encoding=UTF8", "leave it out"),
        ("user=x", "USER:PASSWORD@"),
        ("passfile=x", "USER:PASSWORD@"),
        ("service=x", "postgres://USER"),
        ("dbname=x", "/DATABASE"),
        ("hostaddr=192.0.2.1", "HOST:PORT"),
        ("search_path=x", "schema=NAME"),
        ("currentSchema=x", "schema=NAME"),
        ("options=-c%20search_path%3Dx", "schema=NAME"),
        ("options=-csearch_path=x", "schema=NAME"),
        ("options=endpoint%3Dep-x", "host's name"),
        ("options=project=ep-x", "host's name"),
        ("options=reference%3Dx", "USER.PROJECT"),
        ("options=-c%20jit%3Doff", "ALTER ROLE"),
        ("options=%zz", "ALTER ROLE"),
        ("options", "ALTER ROLE"),
        ("statement_timeout=5000", "socket_timeout"),
        ("target_session_attrs=any", "leave it out"),
        ("max_connection_lifetime=1", "leave it out"),
        ("max_idle_connection_lifetime=1", "leave it out"),
        ("tcp_user_timeout=1", "leave it out"),
    ] {
        let error = with(parameter).unwrap_err().to_string();
        let name = parameter.split('=').next().unwrap();
        assert!(
            error.starts_with(&format!("DATABASE_URL: parameter {name}: is not supported; ")) && error.contains(says),
            "{error}"
        );
    }
}

/// The driver's constructor reads `PG…` variables. This test runs itself again with all of them set, because a
/// process's own environment cannot be changed safely.
#[test]
fn libpq_variables_do_not_leak() {
    const MARK: &str = "leaked";
    #[allow(clippy::disallowed_methods, reason = "tells the second run from the first")]
    if std::env::var("PGHOST").is_ok_and(|host| host == MARK) {
        let url = DatabaseUrl::parse("postgres://notes@db.example/notes").unwrap();
        let options = url.connect_options("notes-get:7");
        assert!(!format!("{options:?}").contains(MARK), "{options:?}");
        assert_eq!(options.get_port(), 5432);
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        return;
    }
    let variables = [
        "PGHOST",
        "PGHOSTADDR",
        "PGUSER",
        "PGPASSWORD",
        "PGDATABASE",
        "PGAPPNAME",
        "PGSSLROOTCERT",
    ];
    let name = format!("{}::libpq_variables_do_not_leak", module_path!());
    let name = name.split_once("::").unwrap().1;
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .envs(variables.map(|variable| (variable, MARK)))
        .envs([("PGPORT", "1"), ("PGSSLMODE", "disable")])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

/// Text of characters that have a meaning in a URL, never empty, without NUL.
fn part(random: &mut fastrand::Rng) -> String {
    let characters = mutation::characters("azAZ09@:/?#%&=+ []\"'\\.é\u{1F600}");
    let length = random.usize(1..=15);
    (0..length).map(|_| *random.choice(&characters).unwrap()).collect()
}

fn shown(result: &Result<DatabaseUrl, ConfigError>) -> String {
    match result {
        Ok(url) => format!("{url:?} {url:#?} {}", url.endpoint()),
        Err(error) => format!("{error} {error:?}"),
    }
}

#[test]
fn parsing_returns_the_parts() {
    for case in 0..mutation::cases(500) {
        let random = &mut fastrand::Rng::with_seed(case);
        let [user, password, database, schema] = [(); 4].map(|()| part(random));
        let schema = schema.replace('"', "_");
        let (port, limit) = (random.u16(1..), random.usize(1..=1000));
        let url = DatabaseUrl::parse(&format!(
            "postgres://{}:{}@db-{case}.example:{port}/{}?schema={}&connection_limit={limit}",
            encoded(&user),
            encoded(&password),
            encoded(&database),
            encoded(&schema),
        ))
        .unwrap();
        assert_eq!(url.user(), user);
        assert_eq!(url.location.password.as_deref(), Some(&*password));
        assert_eq!(url.database(), database);
        assert_eq!(url.parameters.schema.as_deref(), Some(&*schema));
        assert_eq!(url.endpoint(), format!("db-{case}.example:{port}"));
        assert_eq!(url.connection_limit(), Some(limit));
    }
}

#[test]
fn ipv6_address_loses_its_brackets() {
    for address in ["::", "::1", "2001:db8::1", "fe80::ffff:1", "::ffff:127.0.0.1"] {
        let url = DatabaseUrl::parse(&format!("postgres://u@[{address}]/d")).unwrap();
        let address: std::net::Ipv6Addr = address.parse().unwrap();
        assert_eq!(url.connect_options("x").get_host().parse(), Ok(address));
    }
}

#[test]
fn values_are_never_shown() {
    let (password, value) = ("Wx7tKq2ZpB9mN4vc", "h3GdR8sLyT5eJ6uA");
    for name in NAMES.into_iter().chain(["wibble", "password", "options"]) {
        for prefix in ["", "/", "verify-", "1", "%"] {
            let shown = shown(&DatabaseUrl::parse(&format!(
                "postgres://u:{password}@h/d?{name}={prefix}{value}"
            )));
            assert!(!shown.contains(password) && !shown.contains(value), "{name}: {shown}");
        }
    }
}

/// It is neither shown nor sent to another host.
#[test]
fn unencoded_password_never_leaks() {
    let (head, tail) = ("Wx7tKq2ZpB9mN4vc", "h3GdR8sLyT5eJ6uA");
    for mark in [
        "/", "?", "#", "%", "@", "@/", "?=", "?&", "/?", "1/", "[", "]", "\n", "\t", "&",
    ] {
        let result = DatabaseUrl::parse(&format!("postgres://u:{head}{mark}{tail}@h/d?sslmode=prefer"));
        let shown = shown(&result);
        assert!(!shown.contains(head) && !shown.contains(tail), "{mark:?}: {shown}");
        if let Ok(url) = result {
            assert_eq!(url.endpoint(), "h:5432");
        }
    }
}
