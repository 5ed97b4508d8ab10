//! The part of the URL before the `?`: user, password, servers, database.
//!
//! Invariants: never guesses. libpq and Prisma choose different defaults for a missing user, host or database; here the
//! URL, or the secret that completes it, must name each, because a wrong default connects to the wrong place. The `url`
//! crate is not used, because it rejects `user@/database`, the form of a Unix socket, and silently removes line breaks
//! from passwords.

use std::net::Ipv6Addr;

use super::{PERCENT_RULE, percent_decoded};
use crate::config::{ConfigError, Login};

pub(super) const DEFAULT_PORT: u16 = 5432;

/// Decoded and validated. No `Debug`: it contains the password.
#[derive(Clone)]
pub(super) struct Location {
    pub(super) user: String,
    pub(super) password: Option<String>,
    /// A name, an address (IPv6 without brackets, as sockets expect it), a Unix socket's directory beginning with `/`,
    /// or empty if the parameter `host` or a secret must provide it.
    pub(super) host: String,
    pub(super) port: u16,
    /// Hosts and ports of the other servers, one of which accepts writes; no directories.
    pub(super) others: Vec<(String, u16)>,
    /// Empty if a secret must provide it.
    pub(super) database: String,
}

impl Location {
    pub(super) fn parse(authority: &str, path: &str, login: &Login) -> Result<Self, ConfigError> {
        let (credentials, host_and_port) = match (authority.rsplit_once('@'), login) {
            (Some(parts), _) => parts,
            (None, Login::Secret(_)) => ("", authority),
            (None, Login::Url | Login::Iam { .. }) => {
                return Err(ConfigError::url(
                    "names no user; write postgres://USER:PASSWORD@HOST:5432/DATABASE",
                ));
            }
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let user = decoded("the user", user)?;
        let password = decoded("the password", password)?;
        match login {
            Login::Secret(_) if !(user.is_empty() && password.is_empty()) => {
                return Err(ConfigError::url(
                    "names a user; with DATABASE_SECRET_ARN the secret does: write postgres://HOST:5432/DATABASE",
                ));
            }
            Login::Iam { .. } if !password.is_empty() => {
                return Err(ConfigError::url(
                    "holds a password; with DATABASE_IAM_AUTH=true write postgres://USER@HOST:5432/DATABASE",
                ));
            }
            Login::Url | Login::Iam { .. } if user.is_empty() => {
                return Err(ConfigError::url("names no user; write it before the password"));
            }
            Login::Url | Login::Iam { .. } | Login::Secret(_) => {}
        }
        let mut servers = host_and_port.split(',').map(host_and_port_of);
        let (host, port) = servers.next().unwrap_or_else(|| host_and_port_of(""))?;
        let others = servers.collect::<Result<Vec<_>, _>>()?;
        several(&host, &others, login)?;
        let database = path.strip_prefix('/').unwrap_or_default();
        if database.contains('/') {
            return Err(ConfigError::url(
                "has a second / after the host; inside user, password and database write / as %2F",
            ));
        }
        let database = decoded("the database", database)?;
        if database.is_empty() && !matches!(login, Login::Secret(_)) {
            return Err(ConfigError::url("names no database; write /DATABASE after the host"));
        }
        Ok(Self {
            user,
            password: Some(password).filter(|text| !text.is_empty()),
            host,
            port,
            others,
            database,
        })
    }
}

impl Location {
    /// Applies the parameters `host` and `port`: a Unix socket's directory, or servers as in libpq, with one port for
    /// all or one for each.
    pub(super) fn with_parameters(
        mut self,
        host: Option<&str>,
        ports: &[u16],
        login: &Login,
    ) -> Result<Self, ConfigError> {
        let wrong = |name, problem: &str| Err(ConfigError::parameter_of_url(name, problem));
        let Some(host) = host else {
            return match ports {
                [] => Ok(self),
                [..] => wrong(
                    "port",
                    "needs the parameter host; write HOST:PORT after the @ otherwise",
                ),
            };
        };
        if host.starts_with('/') {
            match ports {
                [] => {}
                [port] => self.port = *port,
                [..] => return wrong("port", "must be one port with the directory of a Unix socket"),
            }
            host.clone_into(&mut self.host);
            self.others.clear();
            return Ok(self);
        }
        if !self.host.is_empty() {
            return wrong("host", "names hosts, and so does the URL after the @; keep one of them");
        }
        let hosts: Vec<_> = host.split(',').collect();
        let is_host = |host: &&str| !host.is_empty() && (is_name(host) || host.parse::<Ipv6Addr>().is_ok());
        if !hosts.iter().all(is_host) {
            return wrong(
                "host",
                "has a malformed host; each is a name or an address, without brackets",
            );
        }
        let ports = match ports {
            [] => vec![DEFAULT_PORT; hosts.len()],
            [port] => vec![*port; hosts.len()],
            [..] if ports.len() == hosts.len() => ports.to_vec(),
            [..] => return wrong("port", "must be one port for all hosts, or one for each"),
        };
        let mut servers = hosts.into_iter().map(str::to_owned).zip(ports);
        if let Some(first) = servers.next() {
            (self.host, self.port) = first;
        }
        self.others = servers.collect();
        several(&self.host, &self.others, login)?;
        Ok(self)
    }
}

/// Rejects features that only work with a single host.
fn several(host: &str, others: &[(String, u16)], login: &Login) -> Result<(), ConfigError> {
    if others.is_empty() {
        return Ok(());
    }
    let mut hosts = others.iter().map(|(host, _)| host.as_str()).chain([host]);
    if hosts.any(|host| host.is_empty() || host.starts_with('/')) {
        return Err(ConfigError::url(
            "names several hosts, of which one is empty or the directory of a Unix socket; write A:5432,B:5432 after \
             the @",
        ));
    }
    if matches!(login, Login::Iam { .. }) {
        return Err(ConfigError::url(
            "names more than one host; with DATABASE_IAM_AUTH=true name the one that the token is signed for",
        ));
    }
    Ok(())
}

fn host_and_port_of(text: &str) -> Result<(String, u16), ConfigError> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let address_rule = || ConfigError::url("has a malformed IPv6 host; write it in brackets, as [::1]");
        let (address, after) = bracketed.split_once(']').ok_or_else(address_rule)?;
        let address: Ipv6Addr = address.parse().map_err(|_| address_rule())?;
        let port = match after {
            "" => "",
            _ => after.strip_prefix(':').ok_or_else(address_rule)?,
        };
        return Ok((address.to_string(), port_of(port)?));
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    if port.contains(':') {
        return Err(ConfigError::url(
            "has more than one : after the @; an IPv6 host stands in brackets, as [::1]",
        ));
    }
    let host = decoded("the host", host)?;
    if !is_name(&host) && !host.starts_with('/') {
        return Err(ConfigError::url(
            "has a malformed host; it is a name of letters, digits, dots and hyphens, an address, or the directory \
             of a Unix socket with / written as %2F",
        ));
    }
    Ok((host, port_of(port)?))
}

/// Returns whether its characters are those of a host name or an IPv4 address; true for the empty text.
pub(super) fn is_name(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn port_of(text: &str) -> Result<u16, ConfigError> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    crate::config::whole_number(text, 1, u16::MAX.into())
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| {
            ConfigError::url(
                "has a malformed port; it is a whole number from 1 to 65535 (inside the password write / as %2F, \
             ? as %3F and # as %23)",
            )
        })
}

fn decoded(part: &str, text: &str) -> Result<String, ConfigError> {
    percent_decoded(text).ok_or_else(|| ConfigError::url(format!("{part} {PERCENT_RULE}")))
}
