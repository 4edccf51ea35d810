//! The flags and variables that are allowed with a configuration file.

use std::net::SocketAddr;

use super::flags::{Flags, Given};
use super::http::{Http, conflicting};
use super::keys::agent::{
    HEALTH_LISTEN, HTTP, LIFECYCLE, LISTEN, LOG, LOG_FORMAT, LOG_LEVEL, WEB_CONFIG_FILE,
};
use super::keys::fleet::{COPIES, INDEX, OF};
use super::keys::{Descriptor, Key, ROOT};
use super::{
    Config, Finding, Format, Level, PartitionSettings, Problems, Sources, WebConfig, command_line, partition,
    web,
};
use crate::partition::Partition;

/// The values of the flags that take precedence over a configuration file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--listen`. An image can set its variable for `run` and `healthcheck` alike.
    pub listen: Option<SocketAddr>,
    /// `--health-listen`, likewise.
    pub health_listen: Option<SocketAddr>,
    /// `--web-config-file`
    pub web_config: Option<WebConfig>,
    /// `--http-lifecycle`
    pub lifecycle: Option<bool>,
    /// `--log-level`
    pub log_level: Option<Level>,
    /// `--log-format`
    pub log_format: Option<Format>,
    /// `--partition-index` and the flags beside it
    pub partition: PartitionSettings,
}

impl Overrides {
    /// Reads the overrides in `flags` of what a file says about `http`, and the files that they name from `sources`.
    ///
    /// # Errors
    /// Every problem, with the flag or variable as its path.
    pub fn new(flags: &Flags, http: &Http, sources: &Sources) -> Result<Self, Problems> {
        let overrides = Self::read(flags, sources)?;
        if http.with(&overrides).is_conflicting() { Err(conflict(flags)) } else { Ok(overrides) }
    }

    /// Returns the partition of an agent with this configuration and these overrides, if it has one.
    ///
    /// # Errors
    /// The problem of settings that are incomplete or do not fit each other.
    pub fn partition_of(&self, config: &Config) -> Result<Option<Partition>, Problems> {
        self.partition.or(config.partition).partition()
    }

    fn read(flags: &Flags, sources: &Sources) -> Result<Self, Problems> {
        let (overrides, _) = command_line::read(flags, sources, |root| {
            let fields = root.fields_of(ROOT, "a mapping")?;
            let http = fields.get(&HTTP).map(|field| field.fields(&HTTP.about)).transpose()?;
            let log = fields.get(&LOG).map(|field| field.fields(&LOG.about)).transpose()?;
            let listen = http.as_ref().and_then(|http| http.read(&LISTEN)).transpose();
            let health_listen = http.as_ref().and_then(|http| http.read(&HEALTH_LISTEN)).transpose();
            let web_config = web::read_of(&fields);
            let lifecycle = http.as_ref().and_then(|http| http.read(&LIFECYCLE)).transpose();
            let level = log.as_ref().and_then(|log| log.choice(&LOG_LEVEL)).transpose();
            let format = log.as_ref().and_then(|log| log.choice(&LOG_FORMAT)).transpose();
            let partition = partition::read_of(&fields);
            Ok(Self {
                listen: listen?,
                health_listen: health_listen?,
                web_config: web_config?,
                lifecycle: lifecycle?,
                log_level: level?,
                log_format: format?,
                partition: partition?,
            })
        })?;
        Ok(overrides)
    }

    /// Reads the overrides of an agent that waits for a valid configuration. Any other wrong value
    /// counts as absent.
    ///
    /// # Errors
    /// The problems of the addresses, because nobody would find an agent that listens elsewhere, and of the web
    /// configuration, because the endpoint would not be guarded.
    pub fn while_waiting(flags: &Flags, sources: &Sources) -> Result<Self, Problems> {
        let valid = |key: &dyn Descriptor| Self::read(&flags.only(&[key]), sources).unwrap_or_default();
        let endpoint = flags.only(&[&LISTEN, &HEALTH_LISTEN, &WEB_CONFIG_FILE]);
        let endpoint = Self::new(&endpoint, &Http::default(), sources)?;
        let partition = flags.only(&[&INDEX, &OF, &COPIES]);
        Ok(Self {
            lifecycle: valid(&LIFECYCLE).lifecycle,
            log_level: valid(&LOG_LEVEL).log_level,
            log_format: valid(&LOG_FORMAT).log_format,
            partition: Self::read(&partition, sources).unwrap_or_default().partition,
            ..endpoint
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
