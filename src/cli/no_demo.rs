//! `cachepulse demo` in a binary without the feature `demo`: says how to get it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::usage;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The demo's own flags, so that they are no usage error here.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _flags: Vec<OsString>,
}

impl Demo {
    #[expect(clippy::unused_self, reason = "the signature of the demo's own")]
    pub(super) fn run(&self) -> ExitCode {
        usage(
            &"this binary has no demo: static binaries and the image are built without it.\n\
              In a checkout of cachepulse, run `make demo` or `cargo run --release -- demo`.",
        )
    }
}
