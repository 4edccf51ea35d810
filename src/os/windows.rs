//! Windows.

pub(crate) mod children;
pub(crate) mod descriptors;
pub(crate) mod errors;
pub(crate) mod files;
mod hidden_input;
pub(crate) mod signals;

use std::env;
use std::io;

use socket2::Socket;

pub(crate) use self::hidden_input::HiddenInput;

/// Returns the name of this machine.
pub(crate) fn host_name() -> String {
    env::var("COMPUTERNAME").unwrap_or_default()
}

/// Does nothing: previous connections are no obstacle, and the option would let another process take the address.
pub(crate) fn reuse_address(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
