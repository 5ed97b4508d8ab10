//! The orphan guard: stops a server, and removes its throwaway folder, when the process that started it is gone.
//!
//! A `sh` reads a pipe whose only other end is in this process: however this process ends, the kernel closes that end,
//! and the guard acts. It runs in its own process group, so that Ctrl-C or a signal to this process's group does not
//! end it. Depends on: pipes of the standard library being close-on-exec, so that no other child keeps the end open.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// `$1` signal, `$2` folder to remove or empty. Each line on stdin is the process to stop, or empty if none runs. Ten
/// seconds after the signal the server's folder is removed even if it has not stopped.
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
    /// Starts a guard: from now on the end of this process stops the server with `signal` (as in `kill -s`) and removes
    /// `folder`.
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

    /// Sets the server to stop.
    pub(super) fn watch(&mut self, server: Pid) -> Result<()> {
        writeln!(self.pipe, "{}", server.as_raw_nonzero()).context("PostgreSQL's guard is gone")
    }

    /// Clears the server, because none runs.
    pub(super) fn rest(&mut self) -> Result<()> {
        writeln!(self.pipe).context("PostgreSQL's guard is gone")
    }
}

impl Drop for Guard {
    /// Ends the guard without an action.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
