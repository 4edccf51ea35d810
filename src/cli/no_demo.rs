//! `cachepulse demo` in a binary without the feature `demo`: explains how to build it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::usage;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The demo's flags, accepted so that the message below is shown instead of a usage error.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _flags: Vec<OsString>,
}

impl Demo {
    #[expect(clippy::unused_self, reason = "the same signature as with the feature")]
    pub(super) fn run(&self) -> ExitCode {
        usage(
            &"this binary has no demo: static binaries and the image are built without it.\n\
              In a checkout of cachepulse, run `make demo` or `cargo run --release -- demo`.",
        )
    }
}
