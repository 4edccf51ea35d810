//! The binary: entry and exit code, nothing else but the allocator.

/// musl's own takes more memory and time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    cachepulse::cli::main(std::env::args_os())
}
