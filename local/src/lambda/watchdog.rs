//! The watchdog: one small shell that ends every environment if this process dies without a shutdown.
//!
//! Otherwise a frozen process would stay stopped permanently, because nothing thaws it to notice that its Runtime API
//! is gone. The shell reads the live process groups from a pipe, and the end of that pipe (which the kernel closes
//! however this process ends) makes it kill the remaining ones. It is not for an orderly stop: [`super::Lambda`] kills
//! its environments itself.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use anyhow::Context;
use rustix::process::Pid;

use super::lock;

/// One variable per group, because a list of a thousand groups would be copied at every change.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r change group; do
  case $change in
    add) eval "group_$group=$group" ;;
    remove) unset "group_$group" ;;
  esac
done
for group in $(set | sed -n 's/^group_\([0-9]*\)=.*/\1/p'); do kill -KILL "-$group" 2>/dev/null; done
"#;

pub(super) struct Watchdog {
    shell: Mutex<Child>,
    pipe: Mutex<ChildStdin>,
}

impl Watchdog {
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the terminal's foreground group, so that Ctrl-C does not reach it before this process.
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh, which ends the environments if this process is killed")?;
        let pipe = shell.stdin.take().context("the watchdog has no standard input")?;
        Ok(Self {
            shell: Mutex::new(shell),
            pipe: Mutex::new(pipe),
        })
    }

    pub(super) fn add(&self, group: Pid) {
        self.tell("add", group);
    }

    pub(super) fn remove(&self, group: Pid) {
        self.tell("remove", group);
    }

    fn tell(&self, change: &str, group: Pid) {
        let line = format!("{change} {}\n", group.as_raw_pid());
        // Without a watchdog only the clean-up after a sudden death of this process is lost.
        let _ = lock(&self.pipe).write_all(line.as_bytes());
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let mut shell = lock(&self.shell);
        // SIGKILL and then wait: immediate, and no zombie is left.
        let _ = shell.kill();
        let _ = shell.wait();
    }
}
