//! The part of the URL after the `?`.
//!
//! Invariants: ignores no name; every parameter is applied exactly, or rejected with an alternative. The parent module
//! has the table of parameters.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::PgSslMode;

use super::{PERCENT_RULE, percent_decoded};
use crate::config::{ConfigError, NAME_BYTES, whole_number};

/// Every supported name.
pub(super) const NAMES: [&str; 14] = [
    "application_name",
    "connect_timeout",
    "connection_limit",
    "host",
    "pgbouncer",
    "pool_timeout",
    "port",
    "schema",
    "socket_timeout",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement_cache_size",
];

const MOST_CONNECTIONS: u32 = 1_000;
const MOST_STATEMENTS: u32 = 10_000;
const DAY: u32 = 24 * 60 * 60;

const POOL_TIMEOUT: Duration = Duration::from_secs(8);
/// Longer than the retransmission of a lost SYN (1 s), and leaves time for another attempt within the pool's 8 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const STATEMENT_CACHE_SIZE: usize = 100;

/// The longest unknown name that an error repeats.
const LONGEST_NAME: usize = 40;
/// Jaro similarity from which a known name counts as the intended one.
const SIMILAR: f64 = 0.7;

/// The parameters with defaults filled in. No `Debug`: values must not be shown.
#[derive(Clone)]
pub(super) struct Parameters {
    pub(super) schema: Option<String>,
    /// A Unix socket's directory, or hosts separated by commas.
    pub(super) host: Option<String>,
    /// The ports of those hosts, or the one port of all.
    pub(super) ports: Vec<u16>,
    pub(super) connection_limit: Option<usize>,
    pub(super) pool_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) socket_timeout: Option<Duration>,
    pub(super) pgbouncer: bool,
    pub(super) statement_cache_size: usize,
    pub(super) application_name: Option<String>,
    /// As given; see [`DatabaseUrl::ssl_mode`](super::DatabaseUrl::ssl_mode) for the default.
    pub(super) ssl_mode: Option<PgSslMode>,
    pub(super) ssl_root_cert: Option<PathBuf>,
    /// Certificate and key.
    pub(super) ssl_client: Option<(PathBuf, PathBuf)>,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, ConfigError> {
        let given = Given::parse(query)?;
        let pgbouncer = given
            .get("pgbouncer", "must be true or false", |text| text.parse().ok())?
            .unwrap_or(false);
        // libpq's name for the public authorities is "system"; the driver would look for a file of that name.
        let ssl_root_cert = given.get(
            "sslrootcert",
            "must be the path of a PEM file; the public authorities and those of RDS are trusted without it",
            |text| Some(PathBuf::from(text)).filter(|_| text != "system"),
        )?;
        Ok(Self {
            schema: given.get(
                "schema",
                "must be one schema's name without quotes: 1 to 63 bytes, no control characters, \" or comma; for \
                 several leave it out, and set the role's own with ALTER ROLE … SET search_path",
                |text| {
                    let unusable = |c: char| c.is_control() || matches!(c, '"' | ',');
                    let legal = text.len() <= NAME_BYTES && !text.contains(unusable);
                    legal.then(|| text.to_owned())
                },
            )?,
            host: given.get(
                "host",
                "must be a Unix socket's directory, beginning with /, or names of hosts separated by commas",
                |text| Some(text.to_owned()),
            )?,
            ports: ports(&given)?,
            connection_limit: given.count("connection_limit", 1, MOST_CONNECTIONS)?,
            pool_timeout: given.timeout("pool_timeout", Some(POOL_TIMEOUT))?,
            connect_timeout: given.timeout("connect_timeout", Some(CONNECT_TIMEOUT))?,
            socket_timeout: given.timeout("socket_timeout", None)?,
            pgbouncer,
            statement_cache_size: statement_cache_size(&given, pgbouncer)?,
            application_name: given.get(
                "application_name",
                "must be 1 to 63 printable ASCII characters",
                |text| {
                    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                    (printable && text.len() <= NAME_BYTES).then(|| text.to_owned())
                },
            )?,
            ssl_mode: ssl_mode(&given, ssl_root_cert.is_some())?,
            ssl_root_cert,
            ssl_client: ssl_client(&given)?,
        })
    }
}

/// Returns the names in a query, each of them known and used once.
pub(super) fn names(query: &str) -> Result<Vec<&'static str>, ConfigError> {
    let Given(given) = Given::parse(query)?;
    Ok(given.into_iter().map(|(name, _)| name).collect())
}

fn ports(given: &Given) -> Result<Vec<u16>, ConfigError> {
    let rule = "must be whole numbers from 1 to 65535, separated by commas";
    let port = |text: &str| u16::try_from(whole_number(text, 1, u16::MAX.into())?).ok();
    let ports = given.get("port", rule, |text| text.split(',').map(port).collect())?;
    Ok(ports.unwrap_or_default())
}

fn statement_cache_size(given: &Given, pgbouncer: bool) -> Result<usize, ConfigError> {
    let given = given.count("statement_cache_size", 0, MOST_STATEMENTS)?;
    Ok(given.unwrap_or(if pgbouncer { 0 } else { STATEMENT_CACHE_SIZE }))
}

fn ssl_client(given: &Given) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let file = |name| given.get(name, "must be the path of a PEM file", |text| Some(PathBuf::from(text)));
    match (file("sslcert")?, file("sslkey")?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::parameter_of_url(
            "sslcert",
            "is the client's certificate and needs sslkey (the server's authority is sslrootcert)",
        )),
        (None, Some(_)) => Err(ConfigError::parameter_of_url("sslkey", "needs sslcert")),
    }
}

fn ssl_mode(given: &Given, with_root_cert: bool) -> Result<Option<PgSslMode>, ConfigError> {
    let rule = "must be disable, allow, prefer, require, verify-ca or verify-full";
    let mode = given.get("sslmode", rule, |text| match text {
        "disable" => Some(PgSslMode::Disable),
        // The driver treats `allow` as `disable`, and a server that requires TLS would reject it.
        "allow" | "prefer" => Some(PgSslMode::Prefer),
        "require" => Some(PgSslMode::Require),
        "verify-ca" => Some(PgSslMode::VerifyCa),
        "verify-full" => Some(PgSslMode::VerifyFull),
        _ => None,
    })?;
    if !with_root_cert {
        return Ok(mode);
    }
    match mode {
        None => Ok(Some(PgSslMode::VerifyFull)),
        Some(PgSslMode::VerifyCa | PgSslMode::VerifyFull) => Ok(mode),
        Some(PgSslMode::Require) => Ok(Some(PgSslMode::VerifyCa)),
        Some(PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer) => Err(ConfigError::parameter_of_url(
            "sslrootcert",
            "has no effect without sslmode=verify-full; add it",
        )),
    }
}

/// The parameters as written: known names, each once, values decoded.
struct Given(Vec<(&'static str, String)>);

impl Given {
    fn parse(query: &str) -> Result<Self, ConfigError> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = known(name, value)?;
            if given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(ConfigError::parameter_of_url(name, "is there twice; keep one"));
            }
            let value = percent_decoded(value).ok_or_else(|| ConfigError::parameter_of_url(name, PERCENT_RULE))?;
            given.push((name, value));
        }
        Ok(Self(given))
    }

    /// Returns the value of `name`, parsed by `read`; an empty value is always invalid.
    fn get<T>(&self, name: &str, rule: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        let Some((_, text)) = self.0.iter().find(|(given, _)| *given == name) else {
            return Ok(None);
        };
        let value = Some(text.as_str()).filter(|text| !text.is_empty()).and_then(read);
        value.map(Some).ok_or_else(|| ConfigError::parameter_of_url(name, rule))
    }

    fn count(&self, name: &str, least: u32, most: u32) -> Result<Option<usize>, ConfigError> {
        let rule = format!("must be a whole number from {least} to {most}");
        self.get(name, &rule, |text| {
            usize::try_from(whole_number(text, least, most)?).ok()
        })
    }

    /// Returns `None` for no limit, which 0 requests.
    fn timeout(&self, name: &str, default: Option<Duration>) -> Result<Option<Duration>, ConfigError> {
        let rule = format!("must be whole seconds from 0 to {DAY} (0 = until the request's deadline)");
        let seconds = self.get(name, &rule, |text| whole_number(text, 0, DAY))?;
        Ok(match seconds {
            None => default,
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds.into())),
        })
    }
}

fn known(name: &str, value: &str) -> Result<&'static str, ConfigError> {
    if let Some(known) = NAMES.into_iter().find(|known| *known == name) {
        return Ok(known);
    }
    if let Some(instead) = refused(name, value) {
        return Err(ConfigError::parameter_of_url(name, instead));
    }
    // Text that does not look like a name may be a piece of an unencoded password.
    if name.len() > LONGEST_NAME
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    {
        return Err(ConfigError::url(
            "has a parameter whose name is not a plain word; write it NAME=VALUE&NAME=VALUE",
        ));
    }
    let lower = name.to_ascii_lowercase();
    let similarity = |known: &&str| strsim::jaro(known, &lower);
    let nearest = NAMES
        .into_iter()
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    Err(ConfigError::parameter_of_url(
        name,
        match nearest.filter(|nearest| similarity(nearest) > SIMILAR) {
            Some(nearest) => format!("is not known; did you mean {nearest}?"),
            None => format!("is not known; known are {}", NAMES.join(", ")),
        },
    ))
}

/// Returns the alternative to a parameter that other clients support.
fn refused(name: &str, value: &str) -> Option<&'static str> {
    Some(match name {
        "sslaccept" => "is not supported; use sslmode=verify-full for strict, sslmode=require otherwise",
        "sslidentity" | "sslpassword" => "is not supported; use sslcert and sslkey with PEM files",
        "ssl" | "requiressl" => "is not supported; use sslmode",
        "uselibpqcompat" => "is not supported; leave it out, sslmode means what it means in libpq",
        "channel_binding" => "is not supported; leave it out, sslmode=verify-full keeps others from in between",
        "gssencmode" | "gssdelegation" | "gsslib" | "krbsrvname" => {
            "is not supported; leave it out, Kerberos is not used, and sslmode says how connections are encrypted"
        }
        "user" | "password" | "passfile" => "is not supported; write USER:PASSWORD@ before the host",
        "service" | "servicefile" => {
            "is not supported; write what the service names: postgres://USER:PASSWORD@HOST:5432/DATABASE"
        }
        "dbname" | "database" => "is not supported; write /DATABASE after the host",
        "hostaddr" => "is not supported; write HOST:PORT after the @",
        "search_path" | "currentSchema" => {
            "is not supported; write schema=NAME, or leave it out and set the role's own with ALTER ROLE … SET \
             search_path"
        }
        "options" => options(value),
        "statement_timeout" => "is not supported; write socket_timeout, in seconds",
        "fallback_application_name" => "is not supported; write application_name",
        "target_session_attrs" => "is not supported; leave it out, every new connection is checked for it",
        "load_balance_hosts" => "is not supported; leave it out, the servers are tried in their order",
        "max_connection_lifetime" | "max_idle_connection_lifetime" => {
            "is not supported; leave it out, the pool renews connections by itself"
        }
        "keepalives" | "keepalives_idle" | "keepalives_interval" | "keepalives_count" | "tcp_user_timeout" => {
            "is not supported; leave it out, the pool sets it on every socket"
        }
        "client_encoding"
        | "max_protocol_version"
        | "min_protocol_version"
        | "replication"
        | "require_auth"
        | "requirepeer"
        | "ssl_max_protocol_version"
        | "ssl_min_protocol_version"
        | "sslcertmode"
        | "sslcompression"
        | "sslcrl"
        | "sslcrldir"
        | "sslkeylogfile"
        | "sslnegotiation"
        | "sslsni" => "is not supported; leave it out",
        _ => return None,
    })
}

/// Returns the alternative to startup options, most of which are a provider's way to name the database.
fn options(value: &str) -> &'static str {
    let value = percent_decoded(value).unwrap_or_default();
    let sets = |name: &str| value.contains(name);
    if sets("endpoint=") || sets("project=") {
        "is not supported; leave it out, the provider finds the endpoint by the host's name, which TLS sends (SNI)"
    } else if sets("reference=") {
        "is not supported; leave it out, and write the project into the user: USER.PROJECT:PASSWORD@"
    } else if sets("search_path") {
        "is not supported; write schema=NAME"
    } else {
        "is not supported; set the role's own settings with ALTER ROLE … SET"
    }
}
