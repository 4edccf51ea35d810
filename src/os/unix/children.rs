//! Child processes: their end, and the processes that they have started themselves.

use std::ffi::OsStr;
use std::io;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Returns a command that runs `program`, a path or a name on `PATH`, as the leader of a new group.
pub(crate) fn command(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.process_group(0);
    command
}

/// Waits until `child` has ended. Its id is not used again before [`Child::wait`] returns.
pub(crate) async fn ended(child: &mut Child) -> io::Result<()> {
    let mut ends = signal(SignalKind::child())?;
    while let Some(leader) = id(child) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(leader), options)?.is_some() {
            break;
        }
        ends.recv().await;
    }
    Ok(())
}

/// Returns the id of `child`, unless it was reaped.
fn id(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// A child and what it has started, all of which are killed when this is dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Returns the group of `child`, which [`command`] has started.
    pub(crate) fn of(child: &Child) -> Self {
        Self(id(child))
    }

    /// Kills what a child that has ended has left behind.
    pub(crate) fn end(self) {
        drop(self);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Fails only if the group has already ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
