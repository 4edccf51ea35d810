//! The log: which events are written, and how. Lines go to standard error, as text or JSON.

use std::fmt;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

/// The least urgent events that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the agent cannot do.
    Error,
    /// What the operator should look at.
    Warn,
    /// Changes of state.
    #[default]
    Info,
    /// Each attempt and request that failed, and what is done on a connection.
    Debug,
    /// Everything.
    Trace,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// The running log.
pub struct Telemetry {
    filter: reload::Handle<Targets, Registry>,
}

impl Telemetry {
    /// From now on, logs our own events at `level`.
    pub fn set_level(&self, level: Level) {
        // Fails only where the subscriber is gone, and with it the log.
        let _ = self.filter.reload(filter(level));
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// Starts the log of the process.
///
/// # Errors
/// Where it was started before.
pub fn init(level: Level, format: Format) -> Result<Telemetry, tracing::subscriber::SetGlobalDefaultError> {
    let (subscriber, telemetry) = subscriber(level, format, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(telemetry)
}

fn subscriber<W>(level: Level, format: Format, writer: W) -> (impl Subscriber + Send + Sync, Telemetry)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    (tracing_subscriber::registry().with(filter).with(lines), Telemetry { filter: handle })
}

/// Our own events at `level`; those of libraries only from a warning up, whatever the level: at debug, HTTP
/// clients tell of requests and their headers.
fn filter(level: Level) -> Targets {
    let level = LevelFilter::from(level);
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(env!("CARGO_PKG_NAME"), level)
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
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: Format, events: impl FnOnce(&Telemetry)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, telemetry) = subscriber(level, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || events(&telemetry));
        lines.text()
    }

    #[test]
    fn libraries_are_heard_from_a_warning_up_whatever_the_level() {
        let text = logged(Level::Trace, Format::Text, |_| {
            tracing::trace!("ours");
            tracing::debug!(target: "azure_core::http", "a request");
            tracing::info!(target: "hyper", "a connection");
            tracing::warn!(target: "rustls", "a warning");
        });
        assert!(text.contains("ours") && text.contains("a warning"), "{text}");
        assert!(!text.contains("a request") && !text.contains("a connection"), "{text}");
        let text = logged(Level::Error, Format::Text, |_| tracing::warn!(target: "rustls", "a warning"));
        assert_eq!(text, "");
    }

    #[test]
    fn the_level_can_change_while_the_log_runs() {
        let text = logged(Level::Info, Format::Text, |telemetry| {
            tracing::debug!("one");
            telemetry.set_level(Level::Debug);
            tracing::debug!("two");
            telemetry.set_level(Level::Warn);
            tracing::info!("three");
        });
        assert!(!text.contains("one") && text.contains("two") && !text.contains("three"), "{text}");
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let text =
            logged(Level::Info, Format::Json, |_| tracing::info!(target = "orders", "probe \"failed\"\n"));
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "probe \"failed\"\n");
    }

    #[test]
    fn text_has_no_escape_sequences() {
        let text = logged(Level::Info, Format::Text, |_| tracing::info!(name = "orders", "target is down"));
        assert!(text.contains("INFO") && text.contains("target is down name=\"orders\""), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
