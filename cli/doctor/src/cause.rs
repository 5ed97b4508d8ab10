//! Explains why a step on the way to the database fails, and gives the next command to run.
//!
//! Rejected log-ins are in `login` and `pooler`. The server's own messages are printed for the operator. Invariants:
//! never contains a password or a parameter's value.

use shared::config::{ConfigError, DatabaseUrl};
use shared::db::Error;

use super::report::{Finding, Level};
use super::text::one_line;

/// Why a step failed.
#[derive(Debug)]
pub(super) struct Cause {
    id: &'static str,
    what: String,
    usually: String,
    next: Vec<String>,
}

impl From<Cause> for Finding {
    fn from(cause: Cause) -> Self {
        Self {
            level: Level::Fail,
            id: cause.id,
            what: cause.what,
            why: cause.usually,
            run: cause.next,
        }
    }
}

/// The names of the connection's target, in words and as command-line arguments.
#[derive(Debug)]
pub(super) struct TargetNames {
    pub(super) endpoint: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    /// The application name that the URL sets for sessions.
    pub(super) application: Option<String>,
}

impl TargetNames {
    pub(super) fn of(url: &DatabaseUrl) -> Self {
        let options = url.connect_options("");
        Self {
            endpoint: url.endpoint(),
            host: options.get_host().to_owned(),
            port: options.get_port(),
            user: url.user().to_owned(),
            database: url.database().to_owned(),
            application: options
                .get_application_name()
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }
    }

    pub(super) fn psql(&self) -> String {
        let Self {
            host,
            port,
            user,
            database,
            ..
        } = self;
        let [host, user, database] = [host, user, database].map(|word| shell(word));
        format!("psql -h {host} -p {port} -U {user} -d {database} -c 'SELECT 1'   # asks for the password")
    }
}

/// Quotes a word for a shell.
pub(super) fn shell(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The key words that cannot name a role, a database or a schema without quotes, separated by spaces.
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation \
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time \
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze \
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit \
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references \
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true union \
    unique user using variadic verbose when where window with";

/// Quotes an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let reserved = || RESERVED.split(' ').any(|word| word == name);
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain) && !reserved() {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Quotes an SQL string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn cause<const N: usize>(
    id: &'static str,
    what: impl Into<String>,
    usually: impl Into<String>,
    next: [String; N],
) -> Cause {
    Cause {
        id,
        what: what.into(),
        usually: usually.into(),
        next: next.into(),
    }
}

/// A variable is not usable, or `--url` if `given`. No value is shown.
pub(super) fn variable(error: &ConfigError, given: bool) -> Cause {
    let example = "'postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full'";
    let problem = error.to_string();
    match error.variable() {
        "DATABASE_URL" if given => cause(
            "url",
            problem.replace("DATABASE_URL", "--url"),
            "A mistake in it; nothing was tried. docs/postgres/connection-string.md#each-parameter has the rules.",
            [format!("cargo seer doctor --url {example}")],
        ),
        "DATABASE_URL" => cause(
            "url",
            problem,
            "A mistake in it; nothing was tried. docs/postgres/connection-string.md#each-parameter has the rules.",
            [
                format!("export DATABASE_URL={example}"),
                "cargo seer doctor --local   # instead: the database of `cargo local`, while that runs".to_owned(),
            ],
        ),
        name @ ("DATABASE_SECRET_ARN" | "DATABASE_IAM_AUTH") => cause(
            "variable",
            problem,
            "A mistake in it, or in how it fits the others; nothing was tried. docs/reliability/credentials.md has the rules.",
            [format!(
                "unset {name}   # or correct it; without it DATABASE_URL alone says how to log in"
            )],
        ),
        "AWS_REGION" => cause(
            "variable",
            problem,
            "A token is valid in one region alone; nothing was tried.",
            ["export AWS_REGION=REGION   # that of the database".to_owned()],
        ),
        name => cause(
            "variable",
            problem,
            "A function with this variable cannot use its database either; nothing was tried.",
            [format!(
                "unset {name}   # or correct it; the README's section Configuration has its default"
            )],
        ),
    }
}

/// There is no credential to log in with.
pub(super) fn credential(error: &Error) -> Cause {
    let message = error
        .cause
        .as_ref()
        .map_or_else(String::new, |message| format!(": {message}"));
    cause(
        error.kind.name(),
        format!("no credential to log in with: {}{message}", error.kind.name()),
        error.kind.advice(error.phase),
        ["aws sts get-caller-identity   # who asks; then: aws secretsmanager get-secret-value".to_owned()],
    )
}

/// The name has no address.
pub(super) fn unresolvable(target: &TargetNames, message: &str) -> Cause {
    cause(
        "unresolvable",
        format!("the name {} does not resolve ({message})", target.host),
        "A slip in the host's name, a private zone this network cannot see, or a server that was deleted.",
        [format!("getent hosts {}", shell(&target.host))],
    )
}

/// The resolver does not answer.
pub(super) fn resolver(target: &TargetNames, seconds: f64) -> Cause {
    cause(
        "resolver",
        format!("no answer from the resolver for {} within {seconds:.1} s", target.host),
        "The network's DNS is out of reach: the VPC's DNS settings, or this machine's resolv.conf.",
        [
            "cat /etc/resolv.conf".to_owned(),
            format!("getent hosts {}", shell(&target.host)),
        ],
    )
}

/// The TCP connection failed: refused or unreachable.
pub(super) fn tcp(target: &TargetNames, error: &std::io::Error) -> Cause {
    let TargetNames {
        endpoint, host, port, ..
    } = target;
    // The reset can arrive before the check of the socket.
    if error.kind() == std::io::ErrorKind::ConnectionReset {
        return closed(target, "connect", error);
    }
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    if missing || error.kind() == std::io::ErrorKind::ConnectionRefused {
        return cause(
            "refused",
            format!("{endpoint} refuses connections: nothing listens there"),
            "PostgreSQL is stopped, or listens on another port or only on another address (listen_addresses).",
            [
                format!("pg_isready -h {} -p {port}", shell(host)),
                "systemctl status postgresql; ss -ltnp | grep postgres   # on the server".to_owned(),
            ],
        );
    }
    cause(
        "unreachable",
        format!("{endpoint} cannot be reached ({error})"),
        "There is no route from here to the server: the VPN, the subnet's route table, or the wrong network.",
        [format!("ip route get {}", shell(host))],
    )
}

/// Packets to the server are dropped.
pub(super) fn blackholed(target: &TargetNames, seconds: f64) -> Cause {
    let TargetNames {
        endpoint, host, port, ..
    } = target;
    cause(
        "blackholed",
        format!("{endpoint} does not answer: no reply to a TCP connect within {seconds:.1} s"),
        "Something drops the packets: the server's security group, a firewall, the subnet's routes; or the host is off.",
        [
            format!("nc -vz -w 3 {} {port}   # from the functions' subnet", shell(host)),
            "aws ec2 describe-security-groups --group-ids GROUP   # does it let this port in from the functions?"
                .to_owned(),
        ],
    )
}

/// TCP is accepted, and then nothing arrives.
pub(super) fn silent(target: &TargetNames, waited_for: &str, seconds: f64) -> Cause {
    cause(
        "silent",
        format!(
            "{} accepts TCP but stays silent: no {waited_for} within {seconds:.1} s",
            target.endpoint
        ),
        "The server hangs (out of memory, a full or lost disk, a stopped process), or a balancer has no live target.",
        [
            "systemctl status postgresql; uptime; free -h; df -h   # on the server".to_owned(),
            "journalctl -u postgresql -n 50   # and the server's own log".to_owned(),
        ],
    )
}

/// The server responds, but does not finish the log-in.
pub(super) fn slow(target: &TargetNames, seconds: f64) -> Cause {
    cause(
        "slow",
        format!(
            "{} answers, but the log-in is not over within {seconds:.1} s",
            target.endpoint
        ),
        "The server is overloaded or far away, or waits for another service to check the password (LDAP, PAM).",
        [
            "uptime; iostat -x 1 3   # on the server".to_owned(),
            format!("ping -c 3 {}", shell(&target.host)),
        ],
    )
}

/// TCP is accepted and closed.
pub(super) fn closed(target: &TargetNames, during: &str, error: &std::io::Error) -> Cause {
    cause(
        "closed",
        format!(
            "{} accepts TCP and closes it during the {during} ({error})",
            target.endpoint
        ),
        "A proxy or load balancer without a live server behind it, a server that is going down, or another service.",
        [
            format!("pg_isready -h {} -p {}", shell(&target.host), target.port),
            "journalctl -u postgresql -n 50   # on the server, and its own log".to_owned(),
        ],
    )
}

/// The listening program uses another protocol.
pub(super) fn stranger(target: &TargetNames) -> Cause {
    cause(
        "not-postgresql",
        format!("what listens at {} is not PostgreSQL", target.endpoint),
        "The port belongs to another service.",
        [format!(
            "ss -ltnp | grep ':{}'   # on the server: who listens?",
            target.port
        )],
    )
}

/// TLS is required but not offered.
pub(super) fn no_tls(target: &TargetNames) -> Cause {
    cause(
        "tls-not-offered",
        format!("{} offers no TLS, and sslmode insists on it", target.endpoint),
        "ssl is off on the server, or a pooler in between has no certificate.",
        ["ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf();   -- needs server.crt and server.key".to_owned()],
    )
}

/// The handshake failed, or the certificate does not satisfy sslmode.
pub(super) fn tls(target: &TargetNames, problem: &str) -> Cause {
    cause(
        "tls",
        format!("TLS with {}: {problem}", target.endpoint),
        "Renew the certificate, make it for this name, or let sslrootcert be the authority that signed it.",
        [format!(
            "openssl s_client -starttls postgres -connect {} -showcerts </dev/null",
            shell(&target.endpoint)
        )],
    )
}

/// The TLS library cannot use the server's certificate.
pub(super) fn certificate(target: &TargetNames, problem: &str) -> Cause {
    cause(
        "tls",
        format!("TLS with {}: {problem}", target.endpoint),
        "psql accepts it, because it uses OpenSSL. Functions do not, with any sslmode.",
        [format!(
            "openssl s_client -starttls postgres -connect {} </dev/null | openssl x509 -noout -text",
            shell(&target.endpoint)
        )],
    )
}

/// The file with trusted authorities is not usable.
pub(super) fn authorities(problem: &str) -> Cause {
    cause(
        "tls",
        problem,
        "It must have the certificate of the authority that signed the server's, as PEM.",
        ["openssl x509 -in SSLROOTCERT -noout -subject -dates   # must show the authority".to_owned()],
    )
}

/// The client's certificate or its key is not usable.
pub(super) fn client_certificate(problem: &str) -> Cause {
    cause(
        "tls",
        problem,
        "Both must be PEM, and the key must have no passphrase: nothing asks for it.",
        [
            "openssl x509 -in SSLCERT -noout -subject".to_owned(),
            "openssl pkey -in SSLKEY -noout   # must not ask for a passphrase".to_owned(),
        ],
    )
}

/// Returns the server's or the driver's error message on one line.
pub(super) fn words(error: &sqlx::Error) -> String {
    let words = match error.as_database_error() {
        Some(answer) => answer.message().to_owned(),
        None => error.to_string(),
    };
    one_line(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use local::postgres::{Cluster, Settings};
    use sqlx::Connection as _;

    /// A role may be named `user`, as containers' often is.
    #[tokio::test]
    async fn every_name_is_quoted_as_the_server_needs_it() {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the server's own list of words is wanted")]
        let mut session = sqlx::PgConnection::connect(&cluster.url()).await.unwrap();
        let reserved: Vec<String> =
            sqlx::query_scalar("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
                .fetch_all(&mut session)
                .await
                .unwrap();
        assert!(reserved.contains(&"user".to_owned()));
        for word in reserved {
            assert_ne!(quoted(&word), word);
        }
        assert_eq!(quoted("seer_app"), "seer_app");
        assert_eq!(quoted("two words"), "\"two words\"");
    }
}
