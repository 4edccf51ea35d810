//! `cachepulse healthcheck`: which endpoint of the agent is asked, and how.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::complain;
use super::run::on_runtime;
use super::validate::complain_of_file;
use super::{address_or, failure, usage};
use crate::config::keys::Key;
use crate::config::keys::agent::{HEALTH_LISTEN, LISTEN};
use crate::config::variables::CONFIG_VARIABLE;
use crate::config::{Http, Overrides, Sources, listen};
use crate::connection::tls::reload::Reloader;
use crate::connection::tls::roots::Roots;
use crate::connection::tls::{Remedy, TlsClient};
use crate::error::Chain;
use crate::files::Files;
use crate::healthcheck;
use crate::os::disable_core_dumps;
use crate::secret::{Secret, SecretSource};
use crate::target::{ClientFiles, TlsFiles};

/// What helps against a certificate or a name of the endpoint.
const REMEDY: Remedy = Remedy {
    untrusted: "; name a file with its authority in --ca-file",
    unusual: "; to trust exactly this certificate, name its file in --ca-file",
    unknown_name: "; --server-name sets another",
};

/// What helps where the file is invalid by now.
const TIP: &str = "tip: the agent may listen where the file said at its start; to be independent of the file, set \
                   CACHEPULSE_LISTEN or CACHEPULSE_HEALTH_LISTEN for the agent and its health check";

/// How long the agent may take to respond.
const LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = listen_address,
        help = "Address and port of the HTTP endpoint",
        long_help = "Address and port of the HTTP endpoint\n\nWithout it, the variables and the configuration file say where the \
                     agent listens. If they name a health endpoint, that is asked. The port may be left out, and the brackets \
                     around an address of IPv6: `::1`, `::1:9860`.\n\n[default: [::]:9860]\n[env: CACHEPULSE_LISTEN]"
    )]
    listen: Option<SocketAddr>,
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = health_address,
        help = "Address and port of the health endpoint",
        long_help = "Address and port of the health endpoint\n\n[env: CACHEPULSE_HEALTH_LISTEN]",
        conflicts_with_all = ["listen", "tls", "ca_file", "server_name", "cert_file", "username"]
    )]
    health_listen: Option<SocketAddr>,
    #[arg(
        long,
        value_name = "FILE",
        value_hint = clap::ValueHint::FilePath,
        help = "Configuration file of the agent",
        long_help = format!("Configuration file of the agent\n\n[env: {CONFIG_VARIABLE}]")
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    guard: Guard,
}

/// What the endpoint asks of its clients. The variables of these names are about the cache, so they have none.
#[derive(Debug, Args)]
#[command(next_help_heading = "Endpoint with TLS or users")]
struct Guard {
    /// Use TLS; the flags for its files and names imply it
    #[arg(long)]
    tls: bool,
    /// Root certificates in PEM, in addition to the platform's
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    ca_file: Option<PathBuf>,
    /// Name that the certificate must be valid for [default: the address]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Client certificate in PEM
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Private key of the client certificate in PEM
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Name of a user of the endpoint
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// File with the password of the user
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, requires = "username")]
    password_file: Option<PathBuf>,
}

impl Healthcheck {
    pub(super) fn run(&self) -> ExitCode {
        disable_core_dumps();
        let overrides = match variables() {
            Ok(overrides) => overrides,
            Err(problem) => return usage(&problem),
        };
        let files = Files::system();
        // An agent whose file is invalid by now may run all the same.
        let (http, problem) = match self.file() {
            Some(file) => Http::load_addresses(&file, &Sources::new(&files)),
            None => (Http::default(), None),
        };
        let http = http.with(&overrides);
        let checked = on_runtime(async {
            let (addr, is_guarded) = self.asked(&http);
            let (tls, user) = if is_guarded { self.guard.read(&files).await? } else { (None, None) };
            let asked = healthcheck::Healthcheck { addr, tls, user };
            let Err(error) = asked.run(LIMIT).await else { return Ok(()) };
            // An agent that waits for its configuration does not listen where that says.
            let (elsewhere, _) = self.asked(&Http::default().with(&overrides));
            let waiting = healthcheck::Healthcheck { addr: elsewhere, ..asked };
            if elsewhere != addr && waiting.finds_waiting(LIMIT).await {
                return Ok(());
            }
            Err(Chain(&error).to_string())
        });
        match checked {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(error)) => {
                if let Some(problem) = problem {
                    complain_of_file(&problem);
                    complain(&TIP);
                }
                failure(&error)
            }
            Err(code) => code,
        }
    }

    /// Returns the endpoint to ask, and whether the flags say what it asks of its clients.
    fn asked(&self, http: &Http) -> (SocketAddr, bool) {
        match (self.health_listen, self.listen, http.health_listen) {
            (Some(health), _, _) => (health, false),
            (None, Some(listen), _) => (listen, true),
            (None, None, Some(health)) if !self.guard.is_given() => (health, false),
            _ => (http.listen, true),
        }
    }

    /// Returns the configuration file. An empty value counts as absent.
    fn file(&self) -> Option<PathBuf> {
        let named = || env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
        self.config.clone().or_else(named).filter(|file| !file.as_os_str().is_empty())
    }
}

/// How the endpoint is asked.
type Asked = (Option<(TlsClient, Option<String>)>, Option<(String, Secret)>);

impl Guard {
    fn is_given(&self) -> bool {
        self.has_tls() || self.username.is_some()
    }

    fn has_tls(&self) -> bool {
        self.tls || self.ca_file.is_some() || self.server_name.is_some() || self.cert_file.is_some()
    }

    /// Reads the files that the flags name.
    async fn read(&self, files: &Files) -> Result<Asked, String> {
        let user = match (&self.username, &self.password_file) {
            (Some(name), Some(file)) => {
                let password = SecretSource::File(file.clone()).read(files).await;
                Some((name.clone(), password.map_err(|error| format!("--password-file: {}", Chain(&error)))?))
            }
            _ => None,
        };
        if !self.has_tls() {
            return Ok((None, user));
        }
        let client = self.cert_file.clone().zip(self.key_file.clone());
        let client = client.map(|(cert_file, key_file)| ClientFiles { cert_file, key_file });
        let paths = TlsFiles { ca_file: self.ca_file.clone(), client };
        let (_, mut reloaded) = Reloader::start(Roots::platform(), paths, files)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let client = reloaded.newest().with_remedy(REMEDY);
        Ok((Some((client, self.server_name.clone())), user))
    }
}

/// Reads the variables for the addresses, as the agent does.
fn variables() -> Result<Overrides, String> {
    Ok(Overrides {
        listen: variable(&LISTEN, listen_address)?,
        health_listen: variable(&HEALTH_LISTEN, health_address)?,
        ..Overrides::default()
    })
}

/// Reads the variable of `key` with `parse`. An empty value counts as absent.
fn variable(
    key: &Key<SocketAddr>,
    parse: fn(&str) -> Result<SocketAddr, String>,
) -> Result<Option<SocketAddr>, String> {
    let Some(flag) = key.about.flag else { return Ok(None) };
    let name = flag.variable();
    match env::var(&name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => parse(&value).map(Some).map_err(|problem| format!("{name}: {problem}")),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name}: the value is not UTF-8 text")),
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    address_or(LISTEN.default())(text)
}

fn health_address(text: &str) -> Result<SocketAddr, String> {
    listen::parse(text, LISTEN.default().ip()).ok_or_else(|| format!("expected {}", listen::EXPECTED))
}
