//! Linux and macOS.

pub(crate) mod children;
pub(crate) mod descriptors;
pub(crate) mod errors;
pub(crate) mod files;
mod hidden_input;
pub(crate) mod signals;

use std::io;

use socket2::Socket;

pub(crate) use self::hidden_input::HiddenInput;

/// Returns the name of this machine.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Lets `socket` listen at an address whose previous connections have not ended yet.
pub(crate) fn reuse_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}
