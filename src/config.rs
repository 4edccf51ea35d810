//! The configuration: what the operator decided, checked once and given real types.
//!
//! YAML and flags become the same document (`document.rs`, `command_line.rs`), and one set of readers turns it into a
//! [`Config`] or into [`Problems`]: all of them at once, each with its path. What is done with a configuration is
//! left to others.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod command_line;
mod document;
mod duration;
mod field;
mod file;
pub mod flags;
mod host;
mod identity;
mod problem;
mod size;
mod target;
mod tls;
pub mod watch;

use self::document::Node;
use self::field::{Field, Invalid};
use self::flags::Flags;
use self::problem::Findings;
pub use self::problem::{Problem, Problems};
use crate::target::Target;
pub use crate::telemetry::{Format, Level};

const KEYS: [&str; 5] = ["http", "log", "shutdown_grace_period", "defaults", "targets"];

const SHUTDOWN_GRACE_PERIOD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

/// A whole configuration, free of problems.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The HTTP endpoint.
    pub http: Http,
    /// Logging.
    pub log: Log,
    /// How long a shutdown may wait for what is under way.
    pub shutdown_grace_period: Duration,
    /// What is probed: 1 to 10,000 targets, their names unique.
    pub targets: Vec<Target>,
}

/// The HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Http {
    /// The default of [`Self::listen`]: every address of this machine.
    pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9860);
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Self::DEFAULT_LISTEN }
    }
}

/// Logging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// What is worth a line.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

impl Config {
    /// The default of [`Self::shutdown_grace_period`].
    pub const DEFAULT_SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(10);

    /// Reads a configuration written in YAML. Files and environment variables that it names are looked at, too:
    /// roots and secrets must be there and readable.
    ///
    /// # Errors
    /// Every problem. Where the text is no YAML at all, that is the only one.
    pub fn from_yaml(yaml: &str) -> Result<Self, Problems> {
        let document = document::parse(yaml).map_err(Problems::of_document)?;
        Self::from_document(&document, Findings::default())
    }

    /// Reads the configuration in the file at `path`; see [`read_file`] and [`Self::from_yaml`].
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::from_file(path, &read_file(path)?)
    }

    /// Makes a configuration of what the file at `path` holds.
    fn from_file(path: &Path, yaml: &str) -> Result<Self, LoadError> {
        Self::from_yaml(yaml).map_err(|problems| LoadError::new(path, LoadFault::Invalid(problems)))
    }

    /// Makes a configuration with the one target that `flags` describe. An empty value counts as absent.
    ///
    /// # Errors
    /// Every problem, with the flag for its path.
    pub fn from_flags(flags: &Flags) -> Result<Self, Problems> {
        let findings = Findings::default();
        let document = command_line::document(flags, &findings);
        Self::from_document(&document, findings)
            .map_err(|problems| problems.with_paths(command_line::flag_of))
    }

    fn from_document(document: &Node, findings: Findings) -> Result<Self, Problems> {
        let config = read(&Field::root(document, &findings));
        match (config, findings.into_problems()) {
            (_, Some(problems)) => Err(problems),
            (Ok(config), None) => Ok(config),
            (Err(_), None) => unreachable!("Invalid is only made where a problem is noted"),
        }
    }
}

fn read(root: &Field<'_>) -> Result<Config, Invalid> {
    let fields = root.fields("a mapping with the key targets", &KEYS)?;
    // Everything is read before the first `?`, so that no problem hides another.
    let http = fields.get("http").map_or_else(|| Ok(Http::default()), |field| read_http(&field));
    let log = fields.get("log").map_or_else(|| Ok(Log::default()), |field| read_log(&field));
    let shutdown_grace_period = match fields.get("shutdown_grace_period") {
        Some(field) => duration::read(&field, SHUTDOWN_GRACE_PERIOD),
        None => Ok(Config::DEFAULT_SHUTDOWN_GRACE_PERIOD),
    };
    let targets = target::read_all(&fields);
    Ok(Config { http: http?, log: log?, shutdown_grace_period: shutdown_grace_period?, targets: targets? })
}

fn read_http(field: &Field<'_>) -> Result<Http, Invalid> {
    const WHAT: &str = "an IP address and a port such as 0.0.0.0:9860";
    let fields = field.fields("a mapping such as {listen: \"0.0.0.0:9860\"}", &["listen"])?;
    let Some(listen) = fields.get("listen") else { return Ok(Http::default()) };
    let listen = listen.text(WHAT)?.parse().map_err(|_| listen.expected(WHAT))?;
    Ok(Http { listen })
}

fn read_log(field: &Field<'_>) -> Result<Log, Invalid> {
    let fields = field.fields("a mapping such as {level: info, format: text}", &["level", "format"])?;
    let level = fields.get("level").map(|field| field.choice(&Level::NAMES)).transpose();
    let format = fields.get("format").map(|field| field.choice(&Format::NAMES)).transpose();
    Ok(Log { level: level?.unwrap_or_default(), format: format?.unwrap_or_default() })
}

/// The text of the configuration file at `path`, at most 1 MiB. For [`Config::from_yaml`], and for noticing that
/// the file has changed.
///
/// # Errors
/// When it cannot be read, is too large or is not UTF-8.
pub fn read_file(path: &Path) -> Result<String, LoadError> {
    let content = file::read(path).map_err(|error| LoadError::new(path, LoadFault::Unreadable(error)))?;
    String::from_utf8(content).map_err(|_| LoadError::new(path, LoadFault::NotText))
}

/// No configuration came out of a file.
#[derive(Debug)]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: LoadFault,
}

/// What is wrong with a configuration file.
#[derive(Debug)]
pub enum LoadFault {
    /// It cannot be read, or is too large.
    Unreadable(std::io::Error),
    /// It is not UTF-8.
    NotText,
    /// It can be read, but says something wrong.
    Invalid(Problems),
}

impl LoadError {
    fn new(path: &Path, fault: LoadFault) -> Self {
        Self { path: path.to_owned(), fault }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            LoadFault::Unreadable(_) => write!(f, "the configuration file {path} cannot be read"),
            LoadFault::NotText => write!(f, "the configuration file {path} is not UTF-8 text"),
            LoadFault::Invalid(_) => write!(f, "the configuration file {path} is not valid"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            LoadFault::Unreadable(error) => Some(error),
            LoadFault::NotText => None,
            LoadFault::Invalid(problems) => Some(problems),
        }
    }
}
