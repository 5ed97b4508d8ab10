//! The settings of a cluster, and the server's configuration file made from them.
//!
//! The file is written as a whole each time, so it never contains more than the settings here and the caller's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::account::Account;

/// The settings that a cluster is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Slots for sessions; three of them are the superuser's, as by PostgreSQL's default.
    pub max_connections: u16,
    /// The TCP port; if unset, a free port is found. A port in use is an error.
    pub port: Option<u16>,
    /// Listens on `[::1]` too. Fails if the machine has no IPv6.
    pub ipv6: bool,
    /// Offers TLS, with a certificate for `localhost`, `127.0.0.1` and `::1` (see
    /// [`Cluster::authority`](super::Cluster::authority)). Connections without TLS are still accepted. If PostgreSQL's
    /// build has no TLS, a small front on 127.0.0.1 provides it.
    pub tls: bool,
    /// Further configuration parameters, which override everything set here.
    pub parameters: Vec<(String, String)>,
}

impl Default for Settings {
    /// Returns PostgreSQL's default of a hundred connections, on a free port of 127.0.0.1, without TLS.
    fn default() -> Self {
        Settings {
            max_connections: 100,
            port: None,
            ipv6: false,
            tls: false,
            parameters: Vec::new(),
        }
    }
}

/// Accepts all clients on this machine that have the right password. `trust` is never used.
pub(super) const HOST_BASED_AUTHENTICATION: &str = "\
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
host replication all ::1/128 scram-sha-256
";

/// Durability settings that a throwaway cluster turns off: its data has to survive a crash of the server, but not of
/// the machine.
const THROWAWAY: [(&str, &str); 7] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    // Without it one promotion in four stalls for five seconds.
    ("wal_retrieve_retry_interval", "100ms"),
    ("wal_keep_size", "128MB"),
    ("max_wal_size", "128MB"),
    ("min_wal_size", "32MB"),
    // Shared memory in the cluster's own folder, so that nothing is left when server and folder are gone.
    ("dynamic_shared_memory_type", "mmap"),
];

/// The configuration of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    parameters: BTreeMap<String, String>,
    /// Whether clients can use TLS, from the server or from a front.
    pub(super) tls: bool,
}

impl Configuration {
    pub(super) fn throwaway(settings: &Settings) -> Result<Configuration> {
        Configuration::of(&THROWAWAY, settings)
    }

    pub(super) fn durable(settings: &Settings) -> Result<Configuration> {
        Configuration::of(&[], settings)
    }

    fn of(given: &[(&str, &str)], settings: &Settings) -> Result<Configuration> {
        let mut all = Configuration {
            parameters: BTreeMap::new(),
            tls: settings.tls,
        };
        for (name, value) in given {
            all.set(name, value)?;
        }
        all.set("unix_socket_directories", "")?;
        all.set(
            "listen_addresses",
            if settings.ipv6 { "127.0.0.1,::1" } else { "127.0.0.1" },
        )?;
        all.set("max_connections", &settings.max_connections.to_string())?;
        for (name, value) in &settings.parameters {
            all.set(name, value)?;
        }
        Ok(all)
    }

    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let known = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
        ensure!(
            !name.is_empty() && name.chars().all(known),
            "{name:?} is no name of a PostgreSQL parameter"
        );
        ensure!(
            !value.contains(['\n', '\r', '\0']),
            "the value of {name} has more than one line"
        );
        self.parameters.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Writes `postgresql.conf` into `data` atomically, so that a server reading it sees the old or the new one.
    pub(super) fn write(&self, data: &Path, account: Account) -> Result<()> {
        let lines = self.parameters.iter().map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            format!("{name} = '{value}'\n")
        });
        let (file, new) = (data.join("postgresql.conf"), data.join("postgresql.conf.new"));
        std::fs::write(&new, lines.collect::<String>())
            .and_then(|()| std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)))
            .with_context(|| format!("cannot write {}", new.display()))?;
        account.own(&new)?;
        std::fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))
    }
}
