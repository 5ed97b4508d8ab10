//! `DATABASE_URL`: a PostgreSQL connection string with Prisma's parameters, each one applied or rejected by name.
//!
//! `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?NAME=VALUE&…]`, or `postgresql://…`. The port defaults to 5432.
//! User, password, database and values are percent-decoded (`+` is a plus). HOST is a name, an IPv4 address, an IPv6
//! address in brackets, or the percent-encoded directory of a Unix socket.
//!
//! Several servers are written `HOST[:PORT],HOST[:PORT],…`: a primary and its standbys. A write uses the one that
//! accepts writes, so that nothing waits for DNS after a failover; a read prefers it. Each certificate is verified for
//! its own host.
//!
//! | parameter | unit | default | meaning | too high | too low |
//! |---|---|---|---|---|---|
//! | `schema` | a name | the role's search_path | search_path | – | – |
//! | `connection_limit` | connections, 1–1,000 | the environment's concurrency | connections one environment may hold | environments take each other's slots | concurrent requests queue |
//! | `pool_timeout` | seconds, 0–86,400 | 8 | longest wait for a usable connection, connect retries included; 0 = until the deadline | clients wait for a 503 | a restart of a few seconds fails requests |
//! | `connect_timeout` | seconds, 0–86,400 | 3 | after twice this time a second connect attempt starts beside the first; 0 = none starts | a lost flow is detected late | a busy server gets more attempts than it needs |
//! | `socket_timeout` | seconds, 0–86,400 | 14 (0 too) | longest single statement, never past the deadline | the deadline ends it first | slow statements fail that would succeed |
//! | `pgbouncer` | `true`, `false` | `false` | the server is a transaction pooler (PgBouncer, RDS Proxy): no startup options, no cached statements | – | – |
//! | `statement_cache_size` | statements, 0–10,000 | 100 (0 with `pgbouncer`) | prepared statements kept per connection; with `pgbouncer` it declares that the pooler keeps them too (PgBouncer 1.21 or newer with `max_prepared_statements`) | memory on the server | each statement is prepared again, one more round trip |
//! | `application_name` | 1–63 printable ASCII characters | function and version | the name in `pg_stat_activity` | – | – |
//! | `host` | a directory, or names separated by commas | – | the Unix socket's directory, or the servers, instead of HOST | – | – |
//! | `port` | 1–65,535, separated by commas | 5432 | with `host`: the port of all its servers, or one for each | – | – |
//! | `sslmode` | `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full` | `verify-full`; to this machine `prefer` | as in libpq, but the driver cannot try plaintext first, so `allow` is `prefer`; a Unix socket never uses TLS | – | below `verify-full` an attacker on the path can impersonate the server |
//! | `sslrootcert` | a PEM file | the roots of Amazon RDS | authorities trusted in addition to the public ones; as in libpq it makes `require` check the certificate | – | – |
//! | `sslcert`, `sslkey` | PEM files | – | the client's certificate and key | – | – |
//!
//! With `DATABASE_SECRET_ARN` the URL has no user and no password, and can leave out host and database, which the
//! secret then provides: `postgres://HOST/DATABASE?…`, or `postgres:///?…` for parameters alone. With
//! `DATABASE_IAM_AUTH=true` it has a user and no password. With either, `sslmode` must be `verify-full`, because with
//! less the password or the token would be sent to any machine that answers at the address. For a server on this machine,
//! such as the end of a tunnel, a token requires `require` or stricter.
//!
//! Every other name is an error that suggests the intended name or an alternative. A name given twice, a malformed
//! value, and contradicting parameters are errors too.
//!
//! Invariants: never reads the environment; neither errors nor `Debug` show the password or a parameter's value. The
//! driver's own parser is never used: it ignores parameters that it does not know and logs their values.

mod authorities;
mod location;
mod parameters;
pub(super) mod secret;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{ConfigError, Login};
pub use authorities::RDS_ROOTS;
use location::Location;
use parameters::Parameters;

/// The address of the database and the settings of its connections.
#[derive(Clone)]
pub struct DatabaseUrl {
    location: Location,
    parameters: Parameters,
    login: Login,
}

impl DatabaseUrl {
    /// Parses a connection string that contains the user and password.
    ///
    /// # Errors
    /// Fails with the first violated rule: the parameter's name, never its value.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_for(text, Login::Url)
    }

    /// Parses a connection string for another way to authenticate; see [`DatabaseUrl::parse`].
    ///
    /// # Errors
    /// As [`DatabaseUrl::parse`].
    pub fn parse_for(text: &str, login: Login) -> Result<Self, ConfigError> {
        Self::read(text, login, Parameters::parse)
    }

    fn read(
        text: &str,
        login: Login,
        parameters: impl Fn(&str) -> Result<Parameters, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let text = text.trim();
        if text.contains(char::is_control) {
            return Err(ConfigError::url(
                "must not contain line breaks or other control characters",
            ));
        }
        let rest = ["postgres://", "postgresql://"]
            .into_iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or_else(|| ConfigError::url("must begin with postgres:// or postgresql:// (no quotes around it)"))?;
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // An unencoded / ? or # inside the password ends the authority early. Continuing would interpret the rest of
        // the password as a database or parameter name, and send or print it.
        if path_and_query.contains(['@', '#']) {
            return Err(ConfigError::url(
                "has an @ or # after the host; inside user, password, database and values write / as %2F, \
                 ? as %3F, # as %23 and @ as %40",
            ));
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let location = Location::parse(authority, path, &login)?;
        let parameters = parameters(query)?;
        let location = location.with_parameters(parameters.host.as_deref(), &parameters.ports, &login)?;
        if location.host.is_empty() && !matches!(login, Login::Secret(_)) {
            return Err(ConfigError::url(
                "names no host; write it between the @ and the database",
            ));
        }
        let url = Self {
            location,
            parameters,
            login,
        };
        url.check_credential_is_safe()?;
        Ok(url)
    }

    /// Returns how connections authenticate.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Returns this URL with a token as its password.
    #[must_use]
    pub fn with_token(&self, token: String) -> Self {
        let mut url = self.clone();
        url.location.password = Some(token);
        url.login = Login::Url;
        url
    }

    /// Returns host, port and database for the operator's log line; never a parameter's value. Parts that only the
    /// secret contains are shown as such.
    #[must_use]
    pub fn target(&self) -> String {
        let Location { host, database, .. } = &self.location;
        match (host.as_str(), database.as_str()) {
            ("", "") => "the database that the secret names".to_owned(),
            ("", database) => format!("{database} on the host that the secret names"),
            (_, "") => format!("{}, the database that the secret names", self.endpoint()),
            (_, database) => format!("{}/{database}", self.endpoint()),
        }
    }

    /// Returns this URL once per server, in the order in which they are written.
    #[must_use]
    pub fn servers(&self) -> Vec<Self> {
        let Location { host, port, others, .. } = &self.location;
        let all = [(host.clone(), *port)].into_iter().chain(others.iter().cloned());
        let one = |(host, port)| {
            let mut url = self.clone();
            (url.location.host, url.location.port) = (host, port);
            url.location.others.clear();
            url
        };
        all.map(one).collect()
    }

    /// Returns the first host and its port, for which a token is signed.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.location.host, self.location.port)
    }

    /// Returns `sslmode` for the first server. Without the parameter it is `verify-full`, because a network can be
    /// listened to; `prefer` for this machine, and nothing over a Unix socket.
    #[must_use]
    pub fn ssl_mode(&self) -> PgSslMode {
        if self.is_socket() {
            return PgSslMode::Disable;
        }
        let default = match self.is_loopback() {
            true => PgSslMode::Prefer,
            false => PgSslMode::VerifyFull,
        };
        self.parameters.ssl_mode.unwrap_or(default)
    }

    /// Returns whether every server is on this machine or proves its identity.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let verified = |server: &Self| {
            server.is_socket() || server.is_loopback() || matches!(server.ssl_mode(), PgSslMode::VerifyFull)
        };
        self.servers().iter().all(verified)
    }

    /// Refuses to send a secret's password or a token to a server that does not prove its identity.
    fn check_credential_is_safe(&self) -> Result<(), ConfigError> {
        let (variable, insecure) = match &self.login {
            Login::Url => return Ok(()),
            // A host that the secret names is checked once the secret has been read.
            Login::Secret(_) => (
                "DATABASE_SECRET_ARN",
                !self.location.host.is_empty() && !self.is_verified(),
            ),
            Login::Iam { .. } => ("DATABASE_IAM_AUTH=true", !self.is_verified() || !self.insists_on_tls()),
        };
        if !insecure {
            return Ok(());
        }
        Err(ConfigError::parameter_of_url(
            "sslmode",
            format!(
                "must be verify-full with {variable}: less sends the password or token to whatever answers at the \
                 address. Leave it out, verify-full is the default"
            ),
        ))
    }

    /// Returns whether the driver's first message is a request for TLS.
    #[must_use]
    pub fn asks_for_tls(&self) -> bool {
        !matches!(self.ssl_mode(), PgSslMode::Disable)
    }

    fn insists_on_tls(&self) -> bool {
        match self.ssl_mode() {
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => true,
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => false,
        }
    }

    fn is_loopback(&self) -> bool {
        let host = &self.location.host;
        let address = host.parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    /// Returns host and port of each server for the operator's log line; never a parameter's value.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let Location { host, port, others, .. } = &self.location;
        if self.is_socket() {
            return format!("the Unix socket .s.PGSQL.{port}");
        }
        let shown = |(host, port): (&String, &u16)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let all = [(host, port)]
            .into_iter()
            .chain(others.iter().map(|(host, port)| (host, port)));
        all.map(shown).collect::<Vec<_>>().join(",")
    }

    /// Returns the role to log in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.location.user
    }

    /// Returns the database to connect to.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.location.database
    }

    /// Returns whether the server is a transaction pooler: it accepts no startup options, and session state does not
    /// survive a transaction.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.parameters.pgbouncer
    }

    /// Returns the `schema`, quoted for both `SET LOCAL search_path = …` and a startup option.
    /// [`connect_options`](Self::connect_options) sends it already, except to a pooler.
    #[must_use]
    pub fn search_path(&self) -> Option<String> {
        self.parameters
            .schema
            .as_ref()
            .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
    }

    /// Returns how many connections one environment may hold, at least 1; `None` = as many as it serves requests at
    /// once.
    #[must_use]
    pub fn connection_limit(&self) -> Option<usize> {
        self.parameters.connection_limit
    }

    /// Returns the longest wait for a usable connection, connect retries included; `None` = until the deadline.
    #[must_use]
    pub fn pool_timeout(&self) -> Option<Duration> {
        self.parameters.pool_timeout
    }

    /// Returns half of the time after which a second connect attempt starts beside the first; `None` = none starts.
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.parameters.connect_timeout
    }

    /// Returns the limit of a single statement; `None` = until the deadline.
    #[must_use]
    pub fn socket_timeout(&self) -> Option<Duration> {
        self.parameters.socket_timeout
    }

    /// Returns the number of prepared statements kept per connection. 0, the default behind a pooler, means that every
    /// query must be sent with `persistent(false)`: a named statement stays on the server's session, where the next
    /// client of the pooler would find the name in use.
    #[must_use]
    pub fn statement_cache_size(&self) -> usize {
        self.parameters.statement_cache_size
    }

    /// Returns the driver's options for one connect, to the first of several servers. `application_name` is used if the
    /// URL has none. The caller adds session limits with [`PgConnectOptions::options`], unless
    /// [`is_pooled`](Self::is_pooled).
    ///
    /// No value comes from `PG…` variables: [`Config`](super::Config) checks that those which the driver always reads
    /// are unset. The result's `Debug` shows the password: never format it.
    #[must_use]
    pub fn connect_options(&self, application_name: &str) -> PgConnectOptions {
        let Location {
            user,
            password,
            host,
            port,
            others: _,
            database,
        } = &self.location;
        let parameters = &self.parameters;
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(*port)
            .username(user)
            .password(password.as_deref().unwrap_or_default())
            .database(database)
            .application_name(parameters.application_name.as_deref().unwrap_or(application_name))
            // The server's own default is exact since PostgreSQL 12, and PgBouncer rejects the parameter.
            .extra_float_digits(None)
            // At 0 the driver still names every statement that it prepares, and then never closes one.
            .statement_cache_capacity(parameters.statement_cache_size.max(1))
            // The driver would request TLS over a Unix socket too, where PostgreSQL never uses it.
            .ssl_mode(self.ssl_mode());
        // The driver adds these to the public authorities, and reads them only if it verifies the certificate.
        options = match &parameters.ssl_root_cert {
            Some(path) => match authorities::read(path) {
                Ok(pem) => options.ssl_root_cert_from_pem(pem),
                // The caller checks it first; see `check_authorities`.
                Err(_) => options.ssl_root_cert(path),
            },
            None => options.ssl_root_cert_from_pem(authorities::RDS_ROOTS.into()),
        };
        if let Some((certificate, key)) = &parameters.ssl_client {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        if let Some(search_path) = self.search_path().filter(|_| !self.is_pooled()) {
            options = options.options([("search_path", search_path)]);
        }
        options
    }

    /// Returns the file with an additional trusted authority, if the URL names one.
    #[must_use]
    pub fn ssl_root_cert(&self) -> Option<&Path> {
        self.parameters.ssl_root_cert.as_deref()
    }

    /// Checks the file that `sslrootcert` names, and returns its certificates as PEM; `None` if the URL names none.
    ///
    /// # Errors
    /// Fails with the file's problem, without its path.
    pub fn check_authorities(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = &self.parameters.ssl_root_cert else {
            return Ok(None);
        };
        let read = authorities::read(file).map(Some);
        read.map_err(|problem| format!("the file that sslrootcert names {problem}"))
    }

    /// Returns what is wrong with the files that `sslcert` and `sslkey` name, without their paths and their text, if a
    /// connect failed because of that; `None` if the server refused it, the URL names none, or they are fine. The driver's
    /// own error may have the text of the key.
    #[must_use]
    pub fn client_certificate_problem(&self, failed: &sqlx::Error) -> Option<String> {
        let (certificate, key) = self.parameters.ssl_client.as_ref()?;
        if failed.as_database_error().is_some() {
            return None;
        }
        authorities::client_problem(certificate, key)
    }

    /// Returns whether the server is reached over a Unix socket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.location.host.starts_with('/')
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("endpoint", &self.endpoint())
            .field("user", &self.user())
            .field("database", &self.database())
            .finish_non_exhaustive()
    }
}

/// Decodes percent-encoding. Returns `None` for a malformed escape, for bytes that are not UTF-8, and for NUL, which
/// would end the value inside PostgreSQL's startup message and turn the rest into another setting.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (escape, after) = rest.split_first_chunk::<2>()?;
            let [high, low] = escape.map(|digit| char::from(digit).to_digit(16));
            bytes.push(u8::try_from(high? * 16 + low?).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// The rule that [`percent_decoded`] enforces.
const PERCENT_RULE: &str = "must be percent-encoded UTF-8 without NUL (a literal % is written %25)";

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
