//! What it means when a step on the way to the database fails, and the next command to run.
//!
//! Relies on SQLSTATEs and on the name of the server's routine that refused, which no `lc_messages` translates. What
//! it prints of the server's own words is for the operator. May not hold a password, nor any parameter's value.

use shared::config::DatabaseUrl;
use shared::db::Error;
use shared::db::classify::kind_of;
use shared::db::error::Kind;
use sqlx::postgres::PgDatabaseError;

use super::activity::{WHO, terminate};
use super::report::{Finding, Level};

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

/// Where one wanted to go, in words and as arguments of a command.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) endpoint: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    /// What the URL lets sessions call themselves.
    pub(super) application: Option<String>,
}

impl Place {
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

    fn psql(&self) -> String {
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

/// A word of a shell's command line.
pub(super) fn shell(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// An identifier in SQL.
pub(super) fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn cause<const N: usize>(
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

/// The variable, or `--url` where it is `given`, cannot be used; `problem` names no value.
pub(super) fn url(problem: &str, given: bool) -> Cause {
    let example = "'postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full'";
    let (problem, next) = if given {
        let next = format!("cargo seer doctor --url {example}");
        (problem.replace("DATABASE_URL", "--url"), next)
    } else {
        (problem.to_owned(), format!("export DATABASE_URL={example}"))
    };
    cause(
        "url",
        problem,
        "A mistake in it; nothing was tried. docs/POSTGRES_SETUP.md#each-parameter has the rules.",
        [next],
    )
}

/// Nothing to log in with.
pub(super) fn credential(error: &Error) -> Cause {
    let said = error
        .cause
        .as_ref()
        .map_or_else(String::new, |said| format!(": {said}"));
    cause(
        error.kind.name(),
        format!("no credential to log in with: {}{said}", error.kind.name()),
        error.kind.advice(),
        ["aws sts get-caller-identity   # who asks; then: aws secretsmanager get-secret-value".to_owned()],
    )
}

/// The name has no address.
pub(super) fn unresolvable(place: &Place, said: &str) -> Cause {
    cause(
        "unresolvable",
        format!("the name {} does not resolve ({said})", place.host),
        "A slip in the host's name, a private zone this network cannot see, or a server that was deleted.",
        [format!("getent hosts {}", shell(&place.host))],
    )
}

/// The resolver does not answer.
pub(super) fn resolver(place: &Place, seconds: f64) -> Cause {
    cause(
        "resolver",
        format!("no answer from the resolver for {} within {seconds:.1} s", place.host),
        "The network's DNS is out of reach: the VPC's DNS settings, or this machine's resolv.conf.",
        [
            "cat /etc/resolv.conf".to_owned(),
            format!("getent hosts {}", shell(&place.host)),
        ],
    )
}

/// No TCP connection: refused, unreachable.
pub(super) fn tcp(place: &Place, error: &std::io::Error) -> Cause {
    let Place {
        endpoint, host, port, ..
    } = place;
    // The reset may be quicker than the look at the socket.
    if error.kind() == std::io::ErrorKind::ConnectionReset {
        return closed(place, "connect", error);
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

/// Packets to the server vanish.
pub(super) fn blackholed(place: &Place, seconds: f64) -> Cause {
    let Place {
        endpoint, host, port, ..
    } = place;
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

/// TCP is accepted, and then nothing comes.
pub(super) fn silent(place: &Place, waited_for: &str, seconds: f64) -> Cause {
    cause(
        "silent",
        format!(
            "{} accepts TCP but stays silent: no {waited_for} within {seconds:.1} s",
            place.endpoint
        ),
        "The server hangs (out of memory, a full or lost disk, a stopped process), or a balancer has no live target.",
        [
            "systemctl status postgresql; uptime; free -h; df -h   # on the server".to_owned(),
            "journalctl -u postgresql -n 50   # and the server's own log".to_owned(),
        ],
    )
}

/// The server answers, and lets nobody in.
pub(super) fn slow(place: &Place, seconds: f64) -> Cause {
    cause(
        "slow",
        format!(
            "{} answers, but the log-in is not over within {seconds:.1} s",
            place.endpoint
        ),
        "The server is overloaded or far away, or waits for another service to check the password (LDAP, PAM).",
        [
            "uptime; iostat -x 1 3   # on the server".to_owned(),
            format!("ping -c 3 {}", shell(&place.host)),
        ],
    )
}

/// TCP is accepted and closed.
pub(super) fn closed(place: &Place, during: &str, error: &std::io::Error) -> Cause {
    cause(
        "closed",
        format!(
            "{} accepts TCP and closes it during the {during} ({error})",
            place.endpoint
        ),
        "A proxy or load balancer without a live server behind it, a server that is going down, or another service.",
        [
            format!("pg_isready -h {} -p {}", shell(&place.host), place.port),
            "journalctl -u postgresql -n 50   # on the server, and its own log".to_owned(),
        ],
    )
}

/// What listens there speaks something else.
pub(super) fn stranger(place: &Place) -> Cause {
    cause(
        "not-postgresql",
        format!("what listens at {} is not PostgreSQL", place.endpoint),
        "The port belongs to another service.",
        [format!(
            "ss -ltnp | grep ':{}'   # on the server: who listens?",
            place.port
        )],
    )
}

/// TLS is asked for and not offered.
pub(super) fn no_tls(place: &Place) -> Cause {
    cause(
        "tls-not-offered",
        format!("{} offers no TLS, and sslmode insists on it", place.endpoint),
        "ssl is off on the server, or a pooler in between has no certificate.",
        ["ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf();   -- needs server.crt and server.key".to_owned()],
    )
}

/// The handshake failed, or the certificate is not what sslmode asks for.
pub(super) fn tls(place: &Place, problem: &str) -> Cause {
    cause(
        "tls",
        format!("TLS with {}: {problem}", place.endpoint),
        "Renew the certificate, make it for this name, or let sslrootcert be the authority that signed it.",
        [format!(
            "openssl s_client -starttls postgres -connect {} -showcerts </dev/null",
            shell(&place.endpoint)
        )],
    )
}

/// The server wants to know who it is in a way that the driver has no answer to.
pub(super) fn method(place: &Place) -> Cause {
    cause(
        "auth-method",
        format!(
            "{} asks {} to log in with Kerberos or another method that functions do not speak",
            place.endpoint, place.user
        ),
        "The line of pg_hba.conf that fits this role and address says gss, sspi or the like.",
        [
            "SELECT * FROM pg_hba_file_rules;   -- as a superuser".to_owned(),
            format!(
                "hostssl {} {} CLIENT_ADDRESS/32 scram-sha-256   # above that line; then reload",
                quoted(&place.database),
                quoted(&place.user)
            ),
        ],
    )
}

/// An error in the server's own words, or the driver's, on one line.
pub(super) fn words(error: &sqlx::Error) -> String {
    let words = match error.as_database_error() {
        Some(said) => said.message().to_owned(),
        None => error.to_string(),
    };
    one_line(&words)
}

/// Without what would break the line, or steer a terminal.
pub(super) fn one_line(text: &str) -> String {
    let blank = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(blank).collect()
}

/// Logging in failed, as the driver reports it.
pub(super) fn login(place: &Place, error: &sqlx::Error) -> Cause {
    let Place {
        endpoint,
        user,
        database,
        ..
    } = place;
    let (role, base) = (quoted(user), quoted(database));
    let Some(said) = error
        .as_database_error()
        .and_then(|said| said.try_downcast_ref::<PgDatabaseError>())
    else {
        if let sqlx::Error::Io(io) = error {
            return closed(place, "log-in", io);
        }
        let kind = kind_of(error);
        return cause(
            kind.name(),
            format!("{endpoint}: {}", words(error)),
            kind.advice(),
            [place.psql()],
        );
    };
    let (code, routine) = (said.code(), said.routine().unwrap_or_default());
    let words = format!("{} (SQLSTATE {code})", words(error));
    if said.message().contains("unsupported startup parameter") {
        return pooler(&words);
    }
    match (code, routine) {
        ("28P01", _) => cause(
            "auth",
            format!("wrong password for role {user} (SQLSTATE 28P01)"),
            "It was rotated, mistyped or not percent-encoded; or there is no such role, or its password has run out: \
             the server says the same for all of these.",
            [
                place.psql(),
                format!(
                    "SELECT rolcanlogin, rolvaliduntil FROM pg_roles WHERE rolname = {};   -- as another role",
                    literal(user)
                ),
                format!("\\password {role}   -- in psql, as a superuser: sets it anew"),
            ],
        ),
        ("28000", "InitializeSessionUserId") => cause(
            "auth",
            format!("role {user} is refused: {words}"),
            "The role was never created here, or it may not log in.",
            [format!(
                "CREATE ROLE {role} LOGIN;   -- or, if it is there: ALTER ROLE {role} LOGIN;"
            )],
        ),
        ("28000", _) => cause(
            "auth",
            format!("pg_hba.conf does not let {user} in from here: {words}"),
            "No line of pg_hba.conf fits this user, database, address and (no) TLS, or one that fits says reject.",
            [
                "SELECT * FROM pg_hba_file_rules;   -- as a superuser".to_owned(),
                format!("hostssl {base} {role} CLIENT_ADDRESS/32 scram-sha-256   # for pg_hba.conf; then reload"),
            ],
        ),
        ("3D000", _) => cause(
            "no-database",
            format!("there is no database {database} (SQLSTATE 3D000)"),
            "A slip in the URL, or it was never created on this server.",
            [format!("CREATE DATABASE {base};   -- then: cargo seer migrate")],
        ),
        ("42501", _) => cause(
            "no-connect",
            format!("role {user} may not connect to {database}: {words}"),
            "CONNECT was revoked from PUBLIC and not granted to this role.",
            [format!("GRANT CONNECT ON DATABASE {base} TO {role};")],
        ),
        ("53300", "InitializeSessionUserId") => cause(
            "saturated",
            format!("saturated: role {user} has used up its own CONNECTION LIMIT: {words}"),
            "More environments hold a connection than the role is allowed.",
            [format!(
                "ALTER ROLE {role} CONNECTION LIMIT -1;   -- or a number above the fleet's budget"
            )],
        ),
        ("53300", "CheckMyDatabase") => cause(
            "saturated",
            format!("saturated: database {database} has used up its own CONNECTION LIMIT: {words}"),
            "More sessions than the database is allowed.",
            [format!(
                "ALTER DATABASE {base} CONNECTION LIMIT -1;   -- or a number above the fleet's budget"
            )],
        ),
        ("53300", _) => cause(
            "saturated",
            format!("saturated: every connection slot of {endpoint} is taken: {words}"),
            "A burst of environments, sessions that destroyed environments left behind, or another application. The \
             reserved slots still let a superuser in. The second line ends what functions left behind, and nothing else.",
            [WHO.to_owned(), terminate(place)],
        ),
        ("57P03", _) => cause(
            "starting",
            format!("{endpoint} takes no connections at the moment: {words}"),
            "It is starting, stopping, or recovering from a crash, which takes minutes: its log says how far it is.",
            ["tail -f /var/log/postgresql/*.log   # on the server".to_owned()],
        ),
        _ => cause(
            kind_of(error).name(),
            format!("{endpoint} refused the log-in: {words}"),
            if kind_of(error) == Kind::Query {
                "The server's own words say it best; its log has more."
            } else {
                kind_of(error).advice()
            },
            [place.psql()],
        ),
    }
}

/// A pooler is in between that DATABASE_URL does not mention.
pub(super) fn pooler(words: &str) -> Cause {
    cause(
        "pooler",
        format!("a pooler stands in between, and DATABASE_URL does not say pgbouncer=true: {words}"),
        "PgBouncer or RDS Proxy refuses the session limits that functions send; with pgbouncer=true they do not.",
        ["add pgbouncer=true to the parameters of DATABASE_URL".to_owned()],
    )
}
