//! The orphan guard: stops a server, and removes its throwaway folder, when the process that started it is gone.
//!
//! A `sh` that reads a pipe whose only other end is in this process: however this process ends, the kernel closes that
//! end, and the guard acts. It relies on pipes of the standard library being close-on-exec, so that no other child
//! keeps the end open, and runs in its own process group, so that Ctrl-C or a kill of ours does not take it along.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// `$1` signal, `$2` folder to remove or empty. Each line on stdin is the process to stop, or empty when none runs.
/// Ten seconds after the signal the server's folder is removed whether or not it has stopped.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -s "$1" "$pid" 2>/dev/null; then
  looks=0
  while kill -0 "$pid" 2>/dev/null && [ "$looks" -lt 200 ]; do sleep 0.05; looks=$((looks + 1)); done
fi
if [ -n "$2" ]; then rm -rf -- "$2"; fi
"#;

#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// From here on this process's end stops the server with `signal` (as in `kill -s`) and removes `folder`.
    pub(super) fn over(signal: &str, folder: Option<&Path>) -> Result<Guard> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "seer-postgres-guard", signal])
            .arg(folder.unwrap_or(Path::new("")))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh to guard PostgreSQL")?;
        let pipe = shell.stdin.take().context("the guard has no standard input")?;
        Ok(Guard { shell, pipe })
    }

    /// This is the server to stop.
    pub(super) fn watch(&mut self, server: Pid) -> Result<()> {
        writeln!(self.pipe, "{}", server.as_raw_nonzero()).context("PostgreSQL's guard is gone")
    }

    /// No server runs: there is none to stop.
    pub(super) fn rest(&mut self) -> Result<()> {
        writeln!(self.pipe).context("PostgreSQL's guard is gone")
    }
}

impl Drop for Guard {
    /// Ends the guard without it doing anything.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
