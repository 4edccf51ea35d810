//! `cachepulse run`: the daemon.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tracing::warn;

use super::failure;
use super::source::Source;
use crate::alarm;
use crate::config::keys::Group;
use crate::config::variables::ON_INVALID_CONFIG_VARIABLE;
use crate::config::watch::{Load, Rejection, Watch};
use crate::config::{Config, Overrides, Sources};
use crate::connection::tls::roots::Roots;
use crate::daemon::{self, Daemon, Listeners, OnInvalidConfig};
use crate::error::Chain;
use crate::files::Files;
use crate::http::BindError;
use crate::os::disable_core_dumps;
use crate::telemetry::{Format, Level};
use crate::{descriptors, telemetry};

/// The name of the flag in the parsed command line: that of the field.
pub(super) const ON_INVALID_CONFIG: &str = "on_invalid_config";

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    #[arg(
        long,
        env = ON_INVALID_CONFIG_VARIABLE,
        hide_env = true,
        hide_short_help = true,
        value_name = "MODE",
        value_enum,
        default_value_t,
        help_heading = Group::Agent.title(),
        help = "What to do if the configuration is invalid at the start",
        long_help = format!(
            "What to do if the configuration is invalid at the start\n\n[env: {ON_INVALID_CONFIG_VARIABLE}]"
        )
    )]
    on_invalid_config: OnInvalidConfig,
}

impl Run {
    pub(super) fn run(&self) -> ExitCode {
        let Self { source, on_invalid_config } = self;
        let files = Files::system();
        let sources = Sources::new(&files);
        let config = match (source.load_to_run(&sources), on_invalid_config) {
            (Err(error), OnInvalidConfig::Exit) => return error.exit(),
            (loaded, _) => loaded.map_err(|error| source.rejection(error, &sources)),
        };
        let overrides = match source.overrides(&sources) {
            Ok(overrides) => overrides,
            Err(error) => return error.exit(),
        };
        let again = source.clone();
        let load: Load = Arc::new(move |sources| {
            again.load_to_run(sources).map_err(|error| again.rejection(error, sources))
        });
        let watch = Watch::new(source.file().map(Into::into), load, &sources);
        // They hold the secrets that were read.
        drop(sources);
        start(config, *on_invalid_config, overrides, watch, files)
    }
}

/// Starts the daemon and runs it to its end.
pub(super) fn start(
    config: Result<Config, Rejection>,
    on_invalid_config: OnInvalidConfig,
    overrides: Overrides,
    watch: Watch,
    files: Files,
) -> ExitCode {
    disable_core_dumps();
    let (level, format) = match &config {
        Ok(config) => (config.log.level, config.log.format),
        Err(_) => (Level::Info, overrides.log_format.unwrap_or(Format::Text)),
    };
    let telemetry = match telemetry::init(overrides.log_level, level, format) {
        Ok(telemetry) => telemetry,
        Err(error) => return failure(&Chain(&error)),
    };
    let listeners = match bind(config.as_ref().ok(), on_invalid_config, &overrides) {
        Ok(listeners) => listeners,
        Err(error) => return failure(&Chain(&error)),
    };
    let services = daemon::services(Roots::platform(), files);
    let watch = Some(watch);
    let daemon = Daemon { config, on_invalid_config, overrides, watch, listeners, services, telemetry };
    block_on(async {
        alarm::start();
        match daemon.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&Chain(&error)),
        }
    })
}

/// Binds the addresses of the endpoints. If those of the configuration cannot be bound, an agent that may wait does so at
/// the addresses that it has without a configuration, and in the last resort at first without a health endpoint.
fn bind(
    config: Option<&Config>,
    on_invalid_config: OnInvalidConfig,
    overrides: &Overrides,
) -> Result<Listeners, BindError> {
    let bound = Listeners::bind(daemon::addresses(config, overrides));
    if on_invalid_config == OnInvalidConfig::Exit {
        return bound;
    }
    let waiting = daemon::addresses(None, overrides);
    bound.or_else(|_| Listeners::bind(waiting.clone())).or_else(|error| {
        let listeners = Listeners::bind_main(waiting)?;
        warn!(error = %Chain(&error), "health endpoint not served; retrying");
        Ok(listeners)
    })
}

/// Runs `command` to its end on a single-threaded runtime: probes use little CPU, and one thread needs no
/// synchronization. The HTTP endpoint has its own thread.
pub(super) fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    on_runtime(command).unwrap_or_else(|code| code)
}

/// Runs `command` on a new runtime.
///
/// # Errors
/// The exit code, if the runtime cannot be started. The error is reported.
pub(super) fn on_runtime<T>(command: impl Future<Output = T>) -> Result<T, ExitCode> {
    if let Err(error) = descriptors::check_start() {
        return Err(failure(&format_args!(
            "there are too few file descriptors; raise the limit (ulimit -n): {error}"
        )));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return Err(failure(&format_args!("the runtime cannot be started: {error}"))),
    };
    let value = runtime.block_on(command);
    // A lookup that hangs in the resolver cannot be cancelled and must not delay the exit.
    runtime.shutdown_background();
    Ok(value)
}
