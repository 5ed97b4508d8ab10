//! The surroundings of a function's process: names that can be made unresolvable, a wall clock that can be moved.
//!
//! Names are in `/etc/hosts` of a separate mount namespace (`unshare`, Linux); libfaketime, which is preloaded, moves
//! the clock. Neither changes anything outside the process. They are not available everywhere: check first.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use local::lambda::Function;

/// Debian's path of libfaketime, by machine.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// Files that the functions' processes read.
#[derive(Debug)]
pub(super) struct Surroundings {
    folder: TempDir,
    name: Option<&'static str>,
    addresses: Vec<Ipv4Addr>,
    clock: bool,
}

/// Returns the options of `unshare` that give a process its own mounts, if any work here.
fn unshare() -> Option<&'static [&'static str]> {
    let works = |options: &&[&str]| {
        let mut probe = Command::new("unshare");
        probe
            .args(*options)
            .args(["mount", "--bind", "/etc/hosts", "/etc/hosts"]);
        let silent = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        silent.status().is_ok_and(|status| status.success())
    };
    let ways: [&'static [&'static str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    ways.into_iter().find(works)
}

/// Returns whether names can be made unresolvable here.
pub(super) fn has_names() -> bool {
    unshare().is_some()
}

/// Returns whether a clock can be moved here.
pub(super) fn has_clock() -> bool {
    FAKETIME.iter().any(|library| Path::new(library).is_file())
}

impl Surroundings {
    /// Creates surroundings with a name that resolves to these addresses until it is made unresolvable, and with a
    /// correct clock until it is moved. Of several addresses 127.0.0.1 comes first, in any order (RFC 6724, rule 9).
    pub(super) fn new(name: Option<&'static str>, addresses: Vec<Ipv4Addr>, clock: bool) -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the functions' surroundings")?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let surroundings = Self {
            folder,
            name,
            addresses,
            clock,
        };
        // No name server answers there: a name that is not in the hosts file fails at once, with or without a network.
        std::fs::write(
            surroundings.file("resolv.conf"),
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        )?;
        surroundings.set_resolvable(true)?;
        surroundings.move_clock(0)?;
        Ok(surroundings)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds or removes the name's address. Written in place, because the file is mounted.
    pub(super) fn set_resolvable(&self, resolvable: bool) -> Result<()> {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        if let Some(name) = self.name.filter(|_| resolvable) {
            for address in &self.addresses {
                let _ = writeln!(hosts, "{address} {name}");
            }
        }
        Ok(std::fs::write(self.file("hosts"), hosts)?)
    }

    /// Moves the wall clock by this many seconds from the correct time.
    pub(super) fn move_clock(&self, seconds: i64) -> Result<()> {
        Ok(std::fs::write(self.file("clock"), format!("{seconds:+}s\n"))?)
    }

    /// Returns the function, run in these surroundings.
    pub(super) fn around(&self, mut function: Function) -> Result<Function> {
        if self.clock {
            let library = FAKETIME.iter().find(|library| Path::new(library).is_file());
            let library = library.context("libfaketime is not installed")?;
            let clock = self.file("clock").display().to_string();
            for (name, value) in [
                ("LD_PRELOAD", *library),
                ("FAKETIME_TIMESTAMP_FILE", &clock),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ] {
                function.env.push((name.to_owned(), value.to_owned()));
            }
        }
        if self.name.is_some() {
            let unshare = unshare().context("this machine gives a process no mounts of its own")?;
            let script = format!(
                "#!/bin/sh\nexec unshare {} /bin/sh -c 'mount --bind {hosts} /etc/hosts && \
                 mount --bind {resolver} /etc/resolv.conf && exec {}'\n",
                unshare.join(" "),
                function.binary.display(),
                hosts = self.file("hosts").display(),
                resolver = self.file("resolv.conf").display(),
            );
            let path = self.file(&function.name);
            std::fs::write(&path, script)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
            function.binary = path;
        }
        Ok(function)
    }
}
