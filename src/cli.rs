//! The command line: commands and flags.

pub mod flags;
