//! The source of the configuration of `run` and `check`: a file, or flags for one target.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::validate::Faults;
use crate::config::flags::Flags;
use crate::config::variables::{self, CONFIG_VARIABLE};
use crate::config::{Config, LoadError, Overrides, Problems};

/// The source of the configuration.
#[derive(Debug, Args)]
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

    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let beside_file = self.flags.refused_beside_file();
        let mut config = match self.file() {
            None if beside_file.is_empty() => Err(ConfigError::Nothing),
            None => Config::from_flags(&self.flags).map_err(ConfigError::Flags),
            Some(file) if beside_file.is_empty() => Config::load(file).map_err(ConfigError::File),
            Some(_) => Err(ConfigError::Both(beside_file.join(" "))),
        }?;
        config.warnings.extend(variables::warnings(std::env::vars_os(), &config.targets));
        Ok(config)
    }

    /// Returns the settings of flags that are allowed with a file.
    pub(super) fn overrides(&self) -> Result<Overrides, ConfigError> {
        Overrides::new(&self.flags).map_err(ConfigError::Flags)
    }
}

/// Why there is no usable configuration.
#[derive(Debug)]
pub(super) enum ConfigError {
    Nothing,
    Flags(Problems),
    File(LoadError),
    Both(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "no cache to probe; set a configuration file with --config FILE (CACHEPULSE_CONFIG), or one \
                 cache with --host HOST (CACHEPULSE_HOST)",
            ),
            Self::Flags(problems) => write!(f, "{problems}"),
            Self::File(error) => write!(f, "{}", Faults(error)),
            Self::Both(given) => write!(
                f,
                "{given}: not allowed with --config (or CACHEPULSE_CONFIG); set it in the configuration file, or leave \
                 out the file"
            ),
        }
    }
}
