//! The binary: entry and exit code, nothing else.

fn main() -> std::process::ExitCode {
    cachepulse::cli::main(std::env::args_os())
}
