//! Runtimes with one thread: with paused time, so that nothing waits, and with real time, for what reads files.

use tokio::runtime::{Builder, Runtime};

thread_local! {
    static PAUSED: Runtime = runtime(true);
    static REAL: Runtime = runtime(false);
}

fn runtime(is_paused: bool) -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().start_paused(is_paused).build();
    runtime.expect("a runtime without I/O needs no system resources")
}

/// Runs `future` to its end on paused time.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    PAUSED.with(|runtime| runtime.block_on(future))
}

/// Runs `future` to its end on real time: paused time would not wait for a file's reader.
pub(crate) fn run_in_real_time<F: Future>(future: F) -> F::Output {
    REAL.with(|runtime| runtime.block_on(future))
}
