//! The key `http`: where the agent serves its pages.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::field::{Field, Invalid};
use super::keys::agent::{HEALTH_LISTEN, HTTP, LIFECYCLE, LISTEN, WEB_CONFIG_FILE};
use super::problem::Language;
use super::{LoadError, Overrides, Sources, document_of, listen, load, read_document};

/// The HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The address and port.
    pub listen: SocketAddr,
    /// The address and port of the health endpoint, if there is one.
    pub health_listen: Option<SocketAddr>,
    /// The file that says what guards the endpoint. It was not read.
    pub web_config_file: Option<PathBuf>,
    /// Whether clients may reload the configuration.
    pub lifecycle: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: LISTEN.default(),
            health_listen: None,
            web_config_file: None,
            lifecycle: LIFECYCLE.default(),
        }
    }
}

impl Http {
    /// Reads the addresses in the configuration file at `path`, whatever else it says. A wrong one counts as absent. Returns
    /// also what is wrong, if anything is.
    #[must_use]
    pub fn load_addresses(path: &Path, sources: &Sources) -> (Self, Option<LoadError>) {
        let mut http = Self::default();
        let read = load::from_file(path, sources.read(path), |name, yaml| {
            let document = document_of(name, yaml)?;
            read_document(name, yaml, &document, Language::Yaml, sources, |root| {
                if let Some(field) = root.any_fields("a mapping")?.get(&HTTP) {
                    let fields = field.fields(&HTTP.about)?;
                    http.listen = fields.read(&LISTEN).and_then(Result::ok).unwrap_or(http.listen);
                    http.health_listen = fields.read(&HEALTH_LISTEN).and_then(Result::ok);
                }
                Ok(())
            })
        });
        (http, read.err())
    }

    /// Returns these settings with those of `overrides`, which take precedence.
    #[must_use]
    pub fn with(&self, overrides: &Overrides) -> Self {
        Self {
            listen: overrides.listen.unwrap_or(self.listen),
            health_listen: overrides.health_listen.or(self.health_listen),
            web_config_file: self.web_config_file.clone(),
            lifecycle: overrides.lifecycle.unwrap_or(self.lifecycle),
        }
    }

    /// Whether both endpoints would listen at the same address.
    pub(super) fn is_conflicting(&self) -> bool {
        self.health_listen.is_some_and(|health| listen::conflict(self.listen, health))
    }
}

/// Reads the key `http`.
pub(super) fn read(field: &Field<'_>) -> Result<Http, Invalid> {
    let fields = field.fields(&HTTP.about)?;
    let listen = fields.read(&LISTEN).unwrap_or(Ok(LISTEN.default()));
    let health_listen = fields.read(&HEALTH_LISTEN).transpose();
    let web_config_file = fields.get(&WEB_CONFIG_FILE).map(|field| field.text(&WEB_CONFIG_FILE)).transpose();
    let lifecycle = fields.read(&LIFECYCLE).unwrap_or(Ok(LIFECYCLE.default()));
    let http = Http {
        listen: listen?,
        health_listen: health_listen?,
        web_config_file: web_config_file?.map(PathBuf::from),
        lifecycle: lifecycle?,
    };
    match fields.get(&HEALTH_LISTEN) {
        Some(health) if http.is_conflicting() => Err(health.problem(conflicting(&fields.name_of(&LISTEN)))),
        _ => Ok(http),
    }
}

/// Returns the message about an address that is also that of the key or flag `other`.
pub(super) fn conflicting(other: &str) -> String {
    format!("{other} has the same address; choose another port")
}
