//! The flags and variables that are allowed with a configuration file.

use std::net::SocketAddr;

use super::flags::{Flags, Given};
use super::http::{Http, conflicting};
use super::keys::agent::{
    HEALTH_LISTEN, HTTP, LIFECYCLE, LISTEN, LOG, LOG_FORMAT, LOG_LEVEL, WEB_CONFIG_FILE,
};
use super::keys::{Descriptor, Key, ROOT};
use super::{
    Config, Finding, Format, Level, PartitionSettings, Problems, Sources, WebConfig, command_line, partition,
    web,
};

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
    /// Reads the overrides in `flags`, and the files that they name from `sources`.
    ///
    /// # Errors
    /// Every problem, with the flag or variable as its path.
    fn read(flags: &Flags, sources: &Sources) -> Result<(Self, Vec<Finding>), Problems> {
        command_line::read(flags, sources, |root| {
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
        })
    }

    /// Reads the overrides that apply whatever else is wrong. A wrong value counts as absent, and so does an address of the
    /// health endpoint that is also that of the other one.
    ///
    /// # Errors
    /// The problem of `--listen`: nobody would find an agent that listens elsewhere.
    pub fn valid(flags: &Flags, sources: &Sources) -> Result<Self, Problems> {
        let only = |key: &dyn Descriptor| Ok(Self::read(&flags.only(&[key]), sources)?.0);
        let valid = |key| only(key).unwrap_or_default();
        let overrides = Self {
            listen: only(&LISTEN)?.listen,
            health_listen: valid(&HEALTH_LISTEN).health_listen,
            web_config: valid(&WEB_CONFIG_FILE).web_config,
            lifecycle: valid(&LIFECYCLE).lifecycle,
            log_level: valid(&LOG_LEVEL).log_level,
            log_format: valid(&LOG_FORMAT).log_format,
            ..Self::default()
        };
        let is_conflicting = Http::default().with(&overrides).is_conflicting();
        Ok(Self { health_listen: overrides.health_listen.filter(|_| !is_conflicting), ..overrides })
    }
}

impl Config {
    /// Applies `flags`, which take precedence over what a file says, and reads the files that they name from `sources`.
    ///
    /// # Errors
    /// Every problem, with the flag or variable as its path.
    pub fn with_flags(mut self, flags: &Flags, sources: &Sources) -> Result<Self, Problems> {
        let (overrides, warnings) = Overrides::read(flags, sources)?;
        self.http = self.http.with(&overrides);
        if self.http.is_conflicting() {
            return Err(conflict(flags));
        }
        if let Some(file) = flags.value(&WEB_CONFIG_FILE) {
            self.http.web_config_file = Some(file.into());
            self.web_config = overrides.web_config;
        }
        self.log.level = overrides.log_level.unwrap_or(self.log.level);
        self.log.format = overrides.log_format.unwrap_or(self.log.format);
        self.partition = overrides.partition.or(self.partition);
        self.warnings.extend(warnings);
        Ok(self)
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
