//! The commands that a client queues between MULTI and EXEC.

use crate::frame::Command;
use crate::reply::Reply;

/// More commands than this are refused. Each is limited in size already; see `frame.rs`.
const MAX_QUEUED: usize = 1000;

#[derive(Default)]
pub(super) struct Transaction {
    commands: Vec<Command>,
    failed: bool,
}

impl Transaction {
    pub(super) fn queue(&mut self, command: &Command) -> Reply {
        if self.commands.len() >= MAX_QUEUED {
            self.fail();
            return Reply::error("OOM command not allowed when used memory > 'maxmemory'.");
        }
        self.commands.push(command.clone());
        Reply::Simple("QUEUED")
    }

    /// Records that a command could not be queued, so that EXEC runs none of them.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Returns the commands to run, or the error that EXEC replies with.
    pub(super) fn into_commands(self) -> Result<Vec<Command>, Reply> {
        if self.failed {
            return Err(Reply::error("EXECABORT Transaction discarded because of previous errors."));
        }
        Ok(self.commands)
    }
}
