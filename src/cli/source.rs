//! The source of the configuration of `run` and `check`: a file, or flags for one target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::{OsStringValueParser, StyledStr, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::output::complain_of;
use super::validate::complain_of_file;
use super::{USAGE, usage};
use crate::config::flags::Flags;
use crate::config::variables::{self, CONFIG_VARIABLE};
use crate::config::watch::Rejection;
use crate::config::web::Unguarded;
use crate::config::{Config, LoadError, Overrides, Problems, Sources};
use crate::identity::variables::Variables;

/// The name of the flag of the configuration file in the parsed command line: that of the field.
pub(super) const CONFIG: &str = "config";

/// The source of the configuration.
#[derive(Clone, Debug, Args)]
pub(super) struct Source {
    #[arg(
        long,
        env = CONFIG_VARIABLE,
        hide_env = true,
        value_name = "FILE",
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        value_hint = clap::ValueHint::FilePath,
        help = "Configuration file; without it, flags configure one target",
        long_help = format!("Configuration file; without it, flags configure one target\n\n[env: {CONFIG_VARIABLE}]")
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

impl Source {
    /// The configuration file. An empty value counts as absent.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref().filter(|file| !file.as_os_str().is_empty())
    }

    /// Reads the configuration, and all files that it names, from `sources`. Flags that are allowed with a file take precedence
    /// over it.
    pub(super) fn load(&self, sources: &Sources) -> Result<Config, ConfigError> {
        let beside_file = self.flags.refused_beside_file();
        let mut config = match self.file() {
            None if beside_file.is_empty() => Err(ConfigError::Nothing),
            None => Config::from_flags(&self.flags, sources).map_err(ConfigError::Flags),
            Some(file) if beside_file.is_empty() => {
                let config = Config::load(file, sources).map_err(ConfigError::File)?;
                config.with_flags(&self.flags, sources).map_err(ConfigError::Flags)
            }
            Some(_) => Err(ConfigError::Both(beside_file.join(" "))),
        }?;
        let of_azure = variables::check_azure(&Variables::of_process(), &config.targets);
        config.warnings.extend(of_azure.map_err(ConfigError::Flags)?);
        config.warnings.extend(variables::warnings(std::env::vars_os(), &config.targets));
        Ok(config)
    }

    /// Reads the configuration as [`Self::load`] does, for an agent. That must know its partition if it has one.
    pub(super) fn load_to_run(&self, sources: &Sources) -> Result<Config, ConfigError> {
        let config = self.load(sources)?;
        config.partition.partition().map_err(ConfigError::Flags)?;
        Ok(config)
    }

    /// Returns the settings of flags that apply also without a valid configuration.
    pub(super) fn overrides(&self, sources: &Sources) -> Result<Overrides, ConfigError> {
        Overrides::valid(&self.flags, sources).map_err(ConfigError::Flags)
    }

    /// Returns `error` as the reason why the configuration from `sources` cannot be used.
    pub(super) fn rejection(&self, error: ConfigError, sources: &Sources) -> Rejection {
        Unguarded::mark(error.into(), given(), self.file(), sources)
    }
}

/// Returns the arguments of this process and the names of its variables that have a value.
pub(super) fn given() -> impl Iterator<Item = String> {
    let variables = std::env::vars_os().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name);
    std::env::args_os().chain(variables).map(|word| word.to_string_lossy().into_owned())
}

/// Returns the argument that `error` is about, if none is expected there and it is no flag.
pub(super) fn unexpected_value(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if error.kind() == ErrorKind::UnknownArgument => {
            Some(argument).filter(|argument| !argument.starts_with('-')).map(String::as_str)
        }
        _ => None,
    }
}

/// Adds the flag to the error about an argument that has none: `run orders.yaml`, `check orders.example`.
pub(super) fn suggest_flag(error: &mut clap::Error) {
    let Some(argument) = unexpected_value(error) else { return };
    let is_file =
        Path::new(argument).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let (what, flag) = if is_file { ("a configuration file", "--config") } else { ("a cache", "--host") };
    let tip = StyledStr::from(format!("give {what} with '{flag} {argument}'"));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
}

/// Why there is no usable configuration.
#[derive(Debug)]
pub(super) enum ConfigError {
    Nothing,
    Flags(Problems),
    File(LoadError),
    Both(String),
}

impl ConfigError {
    /// Reports the error.
    pub(super) fn exit(&self) -> ExitCode {
        match self {
            Self::Nothing | Self::Both(_) => usage(self),
            Self::Flags(problems) => {
                problems.iter().for_each(|problem| complain_of(problem));
                USAGE.into()
            }
            Self::File(error) => {
                complain_of_file(error);
                USAGE.into()
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "no cache to probe; set a configuration file with --config FILE (CACHEPULSE_CONFIG), or one cache with \
                 --host HOST (CACHEPULSE_HOST)",
            ),
            Self::Flags(problems) => problems.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::Both(given) => write!(
                f,
                "{given}: not allowed with --config (or CACHEPULSE_CONFIG); set it in the configuration file, or leave \
                 out the file"
            ),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            Self::Nothing | Self::Flags(_) | Self::Both(_) => None,
        }
    }
}
