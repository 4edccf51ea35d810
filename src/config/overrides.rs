//! The flags and variables that are allowed with a configuration file.

use std::net::SocketAddr;

use super::flags::Flags;
use super::keys::ROOT;
use super::keys::agent::{HTTP, LISTEN, LOG, LOG_FORMAT, LOG_LEVEL};
use super::{Format, Level, Problems, Sources, command_line};
use crate::files::Files;

/// The values of the flags that take precedence over a configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`. An image can set its variable for `run` and `healthcheck` alike.
    pub listen: Option<SocketAddr>,
    /// `--log-level`
    pub log_level: Option<Level>,
    /// `--log-format`
    pub log_format: Option<Format>,
}

impl Overrides {
    /// Reads the overrides in `flags`.
    ///
    /// # Errors
    /// Every problem, with the flag or variable as its path.
    pub fn new(flags: &Flags) -> Result<Self, Problems> {
        let (overrides, _) = command_line::read(flags, &Sources::new(&Files::system()), |root| {
            let fields = root.fields_of(ROOT, "a mapping")?;
            let http = fields.get(&HTTP).map(|field| field.fields(&HTTP.about)).transpose()?;
            let log = fields.get(&LOG).map(|field| field.fields(&LOG.about)).transpose()?;
            let listen = http.and_then(|http| http.read(&LISTEN)).transpose();
            let level = log.as_ref().and_then(|log| log.choice(&LOG_LEVEL)).transpose();
            let format = log.as_ref().and_then(|log| log.choice(&LOG_FORMAT)).transpose();
            Ok(Self { listen: listen?, log_level: level?, log_format: format? })
        })?;
        Ok(overrides)
    }

    /// Reads the overrides of an agent that waits for a valid configuration. A wrong level or format counts as absent.
    ///
    /// # Errors
    /// The problem of `--listen`: nobody would find an agent that listens elsewhere.
    pub fn while_waiting(flags: &Flags) -> Result<Self, Problems> {
        let valid = |key| Self::new(&flags.only(key)).unwrap_or_default();
        Ok(Self {
            listen: Self::new(&flags.only(&LISTEN))?.listen,
            log_level: valid(&LOG_LEVEL).log_level,
            log_format: valid(&LOG_FORMAT).log_format,
        })
    }
}
