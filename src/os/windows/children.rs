//! Child processes: how their programs are found, their end, and the processes that they have started themselves.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::os::path_search::{self, EXTENSIONS};

/// `CREATE_NO_WINDOW`: a program of the console opens none of its own.
const NO_WINDOW: u32 = 0x0800_0000;

/// Returns a command that runs `program`: a path, or a name on `PATH`, which may lack its extension.
pub(crate) fn command(program: &OsStr) -> Command {
    let folders = env::var_os("PATH").unwrap_or_default();
    let extensions = env::var("PATHEXT").unwrap_or_else(|_| EXTENSIONS.to_owned());
    let find = |name| path_search::find(name, env::split_paths(&folders), &extensions, Path::is_file);
    let path = program.to_str().and_then(find);
    let mut command = Command::new(path.as_deref().map_or(program, Path::as_os_str));
    command.creation_flags(NO_WINDOW);
    command
}

/// Waits until `child` has ended. Its id is not used again while it is there.
pub(crate) async fn ended(child: &mut Child) -> io::Result<()> {
    child.wait().await.map(drop)
}

/// A child and what it has started, all of which are killed when this is dropped.
pub(crate) struct Group(Option<u32>);

impl Group {
    /// Returns the group of `child`.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// Lets go of a child that has ended: what it has left behind cannot be found any more, and its id may be used again.
    pub(crate) fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.0 else { return };
        // A batch file such as az.cmd waits for the program that it has started, which would survive it.
        let mut command = std::process::Command::new("taskkill");
        command.args(["/T", "/F", "/PID", &leader.to_string()]);
        // Fails if the child has already ended.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
