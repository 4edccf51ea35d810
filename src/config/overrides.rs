//! The flags and variables that are allowed with a configuration file.

use std::net::SocketAddr;

use super::flags::{Flags, Given};
use super::http::{Http, conflicting};
use super::keys::agent::{HEALTH_LISTEN, HTTP, LISTEN, LOG, LOG_FORMAT, LOG_LEVEL};
use super::keys::{Descriptor, Key, ROOT};
use super::{Finding, Format, Level, Problems, Sources, command_line};
use crate::files::Files;

/// The values of the flags that take precedence over a configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`. An image can set its variable for `run` and `healthcheck` alike.
    pub listen: Option<SocketAddr>,
    /// `--health-listen`, likewise.
    pub health_listen: Option<SocketAddr>,
    /// `--log-level`
    pub log_level: Option<Level>,
    /// `--log-format`
    pub log_format: Option<Format>,
}

impl Overrides {
    /// Reads the overrides in `flags` of what a file says about `http`.
    ///
    /// # Errors
    /// Every problem, with the flag or variable as its path.
    pub fn new(flags: &Flags, http: &Http) -> Result<Self, Problems> {
        let overrides = Self::read(flags)?;
        if http.with(&overrides).is_conflicting() { Err(conflict(flags)) } else { Ok(overrides) }
    }

    fn read(flags: &Flags) -> Result<Self, Problems> {
        let (overrides, _) = command_line::read(flags, &Sources::new(&Files::system()), |root| {
            let fields = root.fields_of(ROOT, "a mapping")?;
            let http = fields.get(&HTTP).map(|field| field.fields(&HTTP.about)).transpose()?;
            let log = fields.get(&LOG).map(|field| field.fields(&LOG.about)).transpose()?;
            let listen = http.as_ref().and_then(|http| http.read(&LISTEN)).transpose();
            let health_listen = http.as_ref().and_then(|http| http.read(&HEALTH_LISTEN)).transpose();
            let level = log.as_ref().and_then(|log| log.choice(&LOG_LEVEL)).transpose();
            let format = log.as_ref().and_then(|log| log.choice(&LOG_FORMAT)).transpose();
            Ok(Self {
                listen: listen?,
                health_listen: health_listen?,
                log_level: level?,
                log_format: format?,
            })
        })?;
        Ok(overrides)
    }

    /// Reads the overrides of an agent that waits for a valid configuration. A wrong level or format counts as absent.
    ///
    /// # Errors
    /// The problems of the addresses: nobody would find an agent that listens elsewhere.
    pub fn while_waiting(flags: &Flags) -> Result<Self, Problems> {
        let valid = |key: &dyn Descriptor| Self::read(&flags.only(&[key])).unwrap_or_default();
        let addresses = Self::new(&flags.only(&[&LISTEN, &HEALTH_LISTEN]), &Http::default())?;
        Ok(Self {
            log_level: valid(&LOG_LEVEL).log_level,
            log_format: valid(&LOG_FORMAT).log_format,
            ..addresses
        })
    }
}

/// Returns the problem of `flags` that give both endpoints the same address.
fn conflict(flags: &Flags) -> Problems {
    let name = |key: &Key<SocketAddr>| {
        let given = flags.at_or_below(key.about.path);
        given.map_or_else(|| key.about.path.to_owned(), Given::name)
    };
    let (path, other) = match flags.value(&HEALTH_LISTEN) {
        Some(_) => (name(&HEALTH_LISTEN), name(&LISTEN)),
        None => (name(&LISTEN), name(&HEALTH_LISTEN)),
    };
    Problems(vec![Finding { file: None, position: None, path, message: conflicting(&other) }])
}
