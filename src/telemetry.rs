//! The log: which events are written (`filter.rs`) and how (`line.rs`). Lines go to standard error. `panics.rs` logs defects.

mod filter;
mod line;
mod panics;

use std::fmt;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use self::filter::Filter;
use self::line::{Line, SharedFormat};
use crate::clock::Clock;

/// The number of characters of an ignored `RUST_LOG` directive that are logged.
const DIRECTIVE_LENGTH: usize = 200;

/// The least urgent events that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the agent cannot do.
    Error,
    /// What the operator should look at.
    Warn,
    /// Changes of state.
    Info,
    /// Each failed attempt and each re-authentication.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Every level, from the most urgent events to the least urgent.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// logfmt: `key=value` pairs.
    Text,
    /// A flat JSON object.
    Json,
}

impl Format {
    /// The format's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The running log.
pub struct Telemetry {
    filter: Filter,
    applied: reload::Handle<Targets, Registry>,
    format: SharedFormat,
}

impl Telemetry {
    /// Applies the configuration file's level. A level from a flag or from `RUST_LOG` takes precedence over it.
    pub fn set_configured_level(&self, level: Level) {
        // Fails only if the subscriber is gone, and with it the log.
        let _ = self.applied.reload(self.filter.targets(level));
    }

    /// Writes the following lines in this format.
    pub fn set_format(&self, format: Format) {
        self.format.set(format);
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// Starts the log of the process. Its level is that of `flag`, else that of `RUST_LOG`, else `configured`. From then on a panic
/// is logged and ends the process.
///
/// # Errors
/// The log has been started before.
pub fn init(
    flag: Option<Level>,
    configured: Level,
    format: Format,
) -> Result<Telemetry, tracing::subscriber::SetGlobalDefaultError> {
    let variable = std::env::var_os(filter::VARIABLE).unwrap_or_default();
    let variable = variable.to_string_lossy();
    let (filter, rejected) = Filter::new(flag, &variable);
    let (subscriber, telemetry) = subscriber(filter, configured, format, Clock::system(), std::io::stderr);
    tracing::subscriber::set_global_default(subscriber)?;
    panics::exit_on_panic();
    for directive in rejected {
        let directive: String = directive.chars().take(DIRECTIVE_LENGTH).collect();
        tracing::warn!(directive, expected = filter::DIRECTIVE, "RUST_LOG directive ignored");
    }
    Ok(telemetry)
}

fn subscriber<W>(
    filter: Filter,
    configured: Level,
    format: Format,
    clock: Clock,
    writer: W,
) -> (impl Subscriber + Send + Sync, Telemetry)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (targets, applied) = reload::Layer::new(filter.targets(configured));
    let format = SharedFormat::new(format);
    let line = Line { format: format.clone(), clock };
    let lines = tracing_subscriber::fmt::layer().event_format(line).with_writer(writer).boxed();
    (tracing_subscriber::registry().with(targets).with(lines), Telemetry { filter, applied, format })
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
