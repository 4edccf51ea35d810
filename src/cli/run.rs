//! `cachepulse run`: the daemon.

use std::process::ExitCode;

use rustix::process::DumpableBehavior;

use super::failure;
use super::source::Source;
use crate::config::Sources;
use crate::config::watch::Watch;
use crate::connection::tls::roots::Roots;
use crate::daemon::{self, Daemon};
use crate::error::Chain;
use crate::files::Files;
use crate::{descriptors, http, telemetry};

pub(super) fn run(source: &Source) -> ExitCode {
    let files = Files::system();
    let sources = Sources::new(&files);
    let config = match source.load(&sources) {
        Ok(config) => config,
        Err(error) => return error.exit(),
    };
    let overrides = match source.overrides() {
        Ok(overrides) => overrides,
        Err(error) => return error.exit(),
    };
    keep_out_of_core_dumps();
    let format = overrides.log_format.unwrap_or(config.log.format);
    let telemetry = match telemetry::init(overrides.log_level, config.log.level, format) {
        Ok(telemetry) => telemetry,
        Err(error) => return failure(&Chain(&error)),
    };
    let listener = match http::bind(overrides.listen.unwrap_or(config.http.listen)) {
        Ok(listener) => listener,
        Err(error) => return failure(&Chain(&error)),
    };
    let daemon = Daemon {
        config,
        watch: source.file().map(|file| Watch::new(file.to_owned(), &sources)),
        listener,
        services: daemon::services(Roots::platform(), files),
        telemetry,
    };
    // They hold the secrets that were read.
    drop(sources);
    block_on(async {
        match daemon.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&Chain(&error)),
        }
    })
}

/// Runs `command` to its end on a single-threaded runtime: probes use little CPU, and one thread needs no
/// synchronization. The HTTP endpoint has its own thread.
pub(super) fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    if let Err(error) = descriptors::check_start() {
        return failure(&format_args!(
            "there are too few file descriptors; raise the limit (ulimit -n): {error}"
        ));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&format_args!("the runtime cannot be started: {error}")),
    };
    let code = runtime.block_on(command);
    // A lookup that hangs in the resolver cannot be cancelled and must not delay the exit.
    runtime.shutdown_background();
    code
}

/// Disables core dumps, which would write the tokens and keys in memory to a disk.
pub(super) fn keep_out_of_core_dumps() {
    // Some sandboxes forbid it, which must not prevent the start.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
