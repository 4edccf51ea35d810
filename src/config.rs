//! The configuration, validated once and converted to the types of the agent.
//!
//! YAML and flags become the same document (`document.rs`, `command_line.rs`), and one set of readers turns it into a
//! [`Config`] or into [`Problems`]: all of them at once, each with its path. What is done with a configuration is
//! left to others.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod certificate;
mod cluster;
mod command_line;
mod document;
mod duration;
mod field;
pub mod flags;
mod host;
mod host_pattern;
mod http;
mod identity;
pub mod keys;
mod labels;
pub mod listen;
mod load;
mod location;
mod merge;
mod named_identities;
mod ordinal;
mod overrides;
mod parse;
mod partition;
mod place;
mod plausible;
mod problem;
pub mod schema;
mod sentinel;
mod settings;
mod size;
mod sources;
mod surrogates;
mod target;
mod target_file;
mod target_files;
mod tls;
mod token;
mod unknown;
pub mod variables;
pub mod watch;
pub mod web;

use self::document::Node;
use self::field::{Field, Invalid};
use self::flags::Flags;
pub use self::host::is_host;
pub use self::http::Http;
use self::keys::agent::{
    CLASSIC_FACTOR, HISTOGRAMS, HTTP, LOG, LOG_FORMAT, LOG_LEVEL, METRICS, SHUTDOWN_GRACE_PERIOD,
};
pub use self::load::{LoadError, LoadFault};
pub use self::overrides::Overrides;
pub use self::partition::PartitionSettings;
use self::problem::{Collector, Language};
pub use self::problem::{Finding, Position, Problems};
pub use self::settings::{interval, settings};
pub use self::sources::Sources;
pub use self::target_files::{Found, Good, Merged, TargetFiles};
pub use self::web::WebConfig;
use crate::files::Files;
use crate::metrics;
use crate::target::Target;
pub use crate::telemetry::{Format, Level};

/// A whole configuration, free of problems.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The HTTP endpoint.
    pub http: Http,
    /// What guards it, if it names a file that says so and [`Sources`] read that.
    pub web_config: Option<WebConfig>,
    /// How metrics are exported.
    pub metrics: metrics::Settings,
    /// Logging.
    pub log: Log,
    /// The longest time that a shutdown waits for running requests.
    pub shutdown_grace_period: Duration,
    /// Which of the targets this agent probes. Flags complete it.
    pub partition: PartitionSettings,
    /// The files with further targets, if it names any.
    pub target_files: Option<TargetFiles>,
    /// Its own targets: up to 10,000, with names that are unique without regard to case.
    pub targets: Vec<Arc<Target>>,
    /// Settings that are valid, but probably mistakes.
    pub warnings: Vec<Finding>,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The lowest level to log.
    pub level: Level,
    /// The format of the lines.
    pub format: Format,
}

impl Config {
    /// Parses a configuration in YAML, which messages call `name`. The root certificates and secrets that it names must
    /// be readable.
    ///
    /// # Errors
    /// Every problem; only one if the text is not YAML.
    pub fn from_yaml(name: &str, yaml: &str) -> Result<Self, Problems> {
        Self::parse(name, yaml, &Sources::new(&Files::system()))
    }

    fn parse(name: &str, yaml: &str, sources: &Sources) -> Result<Self, Problems> {
        let document = document_of(name, yaml)?;
        sources.read_all_in(&document);
        let (config, warnings) = read_document(name, yaml, &document, Language::Yaml, sources, read)?;
        Ok(Self { warnings, ..config })
    }

    /// Reads the configuration in the file at `path`, and all files that it names, from `sources`.
    ///
    /// # Errors
    /// If it cannot be read or is not a valid configuration; see [`Self::from_yaml`].
    pub fn load(path: &Path, sources: &Sources) -> Result<Self, LoadError> {
        load::from_file(path, sources.read(path), |name, yaml| Self::parse(name, yaml, sources))
    }

    /// Reads the configuration from `reader`. Messages call it `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_from(reader: impl io::Read, name: &Path, sources: &Sources) -> Result<Self, LoadError> {
        load::from_file(name, load::read(reader), |name, yaml| Self::parse(name, yaml, sources))
    }

    /// Creates a configuration with the one target of `flags`. An empty value counts as absent.
    ///
    /// # Errors
    /// Every problem, with the flag or variable as its path.
    pub fn from_flags(flags: &Flags, sources: &Sources) -> Result<Self, Problems> {
        let (config, warnings) = command_line::read(flags, sources, read)?;
        Ok(Self { warnings, ..config })
    }
}

/// Parses `yaml`, which messages call `name`.
fn document_of(name: &str, yaml: &str) -> Result<Node, Problems> {
    document::parse(yaml).map_err(|(message, position)| {
        Problems(vec![Finding { file: Some(name.into()), position, path: String::new(), message }])
    })
}

/// Reads the `document` of `yaml` with `reader`, which reads files from `sources`.
fn read_document<T>(
    name: &str,
    yaml: &str,
    document: &Node,
    language: Language,
    sources: &Sources,
    reader: impl FnOnce(&Field<'_>) -> Result<T, Invalid>,
) -> Result<(T, Vec<Finding>), Problems> {
    let findings = Collector::new(language, sources.clone());
    let read = reader(&Field::root(document, &findings));
    findings.conclude(read, |noted| place::locate(name, yaml, Some(document), noted))
}

fn read(root: &Field<'_>) -> Result<Config, Invalid> {
    let fields = root.fields_of(keys::ROOT, "a mapping with the key targets")?;
    // Everything is read before the first `?`, so that all problems are reported together.
    let http = fields.get(&HTTP).map_or(Ok(Http::default()), |field| http::read(&field));
    let web_config = web::read_of(&fields);
    let log = match fields.get(&LOG) {
        Some(field) => read_log(&field),
        None => Ok(Log { level: LOG_LEVEL.default(), format: LOG_FORMAT.default() }),
    };
    let metrics = fields.get(&METRICS).map_or(Ok(metrics::Settings::default()), |field| read_metrics(&field));
    let shutdown_grace_period = fields.read(&SHUTDOWN_GRACE_PERIOD).transpose();
    let partition = partition::read_of(&fields);
    let mut earlier = target::Earlier::default();
    let identities = named_identities::read_of(&fields, &mut earlier);
    let targets = target::read_all(&fields, &mut earlier);
    let target_files = target_files::read_of(&fields, identities);
    Ok(Config {
        http: http?,
        web_config: web_config?,
        metrics: metrics?,
        log: log?,
        shutdown_grace_period: shutdown_grace_period?.unwrap_or(SHUTDOWN_GRACE_PERIOD.default()),
        partition: partition?,
        targets: targets?,
        target_files: target_files?,
        warnings: Vec::new(),
    })
}

fn read_metrics(metrics: &Field<'_>) -> Result<metrics::Settings, Invalid> {
    let fields = metrics.fields(&METRICS.about)?;
    let histograms = fields.choice(&HISTOGRAMS).unwrap_or(Ok(HISTOGRAMS.default()));
    let classic_factor = fields.choice(&CLASSIC_FACTOR).unwrap_or(Ok(CLASSIC_FACTOR.default()));
    Ok(metrics::Settings { histograms: histograms?, classic_factor: classic_factor? })
}

fn read_log(log: &Field<'_>) -> Result<Log, Invalid> {
    let fields = log.fields(&LOG.about)?;
    let level = fields.choice(&LOG_LEVEL).unwrap_or(Ok(LOG_LEVEL.default()));
    let format = fields.choice(&LOG_FORMAT).unwrap_or(Ok(LOG_FORMAT.default()));
    Ok(Log { level: level?, format: format? })
}
