//! The binary: entry and exit codes, nothing else.

fn main() {}
