//! A child process with all its children, for example cargo with its compilers, stopped together.
//!
//! A separate process group does not receive the terminal's Ctrl-C: its spawner listens for it ([`crate::stop`]) and
//! drops the group.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// The process group of a child; interrupted when dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Starts a command as a process group.
    ///
    /// # Errors
    /// Fails if the program cannot be run.
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<(Child, Self)> {
        let child = command.process_group(0).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok((child, Self(group)))
    }

    /// Marks the child as ended, because another process may have its id by now.
    pub(crate) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails only if nothing is left to stop.
            let _ = kill_process_group(group, Signal::INT);
        }
    }
}
