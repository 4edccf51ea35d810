//! `cachepulse demo`: the real agent against a local stand-in for Azure in the same process.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cachepulse_standin::cluster::incidents;
use cachepulse_standin::{
    BindError, ClusterOptions, HOST, Options, Ports, Service, Standin, StartError, outages,
};
use clap::{Args, value_parser};
use tokio::sync::mpsc;

use super::output::{WriteError, print};
use super::run::block_on;
use super::{address_or, failure};
use crate::config::{Config, Http, Overrides};
use crate::connection::tls::roots::Roots;
use crate::daemon::{self, Daemon, Listeners, OnInvalidConfig};
use crate::error::Chain;
use crate::files::Files;
use crate::os::files::create_private_folder;
use crate::telemetry::{self, Format, Level, Telemetry};

/// The lifetime of the service account's token: longer than any demo.
const FEDERATED_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Starts each line that reports an event of the stand-in.
const EVENT: &str = "[azure]";

/// The files of the demo.
const CA_FILE: &str = "ca.pem";
const KEY_FILE: &str = "access-key";
const TOKEN_FILE: &str = "federated-token";

/// A demo is served only to this machine.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9860);

#[derive(Debug, Args)]
pub(super) struct Demo {
    #[arg(
        long,
        env = "CACHEPULSE_LISTEN",
        hide_env = true,
        value_name = "ADDRESS",
        help = "Address and port of the HTTP endpoint",
        long_help = "Address and port of the HTTP endpoint\n\n[env: CACHEPULSE_LISTEN]",
        default_value_t = LISTEN,
        value_parser = address_or(LISTEN)
    )]
    listen: SocketAddr,
    /// Port of the simulated cache; 0 takes any free port.
    #[arg(long, value_name = "PORT", default_value_t = 6390)]
    redis_port: u16,
    /// Port of the simulated identity endpoint
    ///
    /// The Entra authority takes the next port; 0 takes any free ports.
    #[arg(long, value_name = "PORT", default_value_t = 6391, value_parser = value_parser!(u16).range(..i64::from(u16::MAX)))]
    identity_port: u16,
    /// Leave out the outages
    #[arg(long)]
    steady: bool,
    /// Simulate a cluster of three shards, as in the Premium tier of Azure
    ///
    /// The incidents are the loss of a shard, a planned failover and announced maintenance.
    #[arg(long)]
    cluster: bool,
    /// Port of the first of six nodes; 0 takes free ports
    ///
    /// The other nodes take the next ports.
    #[arg(long, value_name = "PORT", default_value_t = 15000, requires = "cluster", value_parser = value_parser!(u16).range(..=i64::from(u16::MAX - 5)))]
    node_port: u16,
}

impl Demo {
    pub(super) fn run(&self) -> ExitCode {
        let telemetry = match telemetry::init(None, Level::Info, Format::Text) {
            Ok(telemetry) => telemetry,
            Err(error) => return failure(&Chain(&error)),
        };
        // Bound first, so that nothing has started if the address is in use.
        let http = Http { listen: self.listen, ..Http::default() };
        let listeners = match Listeners::bind(http) {
            Ok(listeners) => listeners,
            Err(error) => return failure(&Chain(&error)),
        };
        block_on(async {
            match self.play(listeners, telemetry).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => match error.downcast_ref::<WriteError>() {
                    Some(error) => error.exit(ExitCode::SUCCESS),
                    None => failure(&Chain(&*error)),
                },
            }
        })
    }

    fn ports(&self) -> Ports {
        let authority = if self.identity_port == 0 { 0 } else { self.identity_port + 1 };
        Ports { cache: self.redis_port, identity: self.identity_port, authority }
    }

    async fn play(
        &self,
        listeners: Listeners,
        telemetry: Telemetry,
    ) -> Result<(), Box<dyn std::error::Error>> {
        // Unbounded, because the first error ends the demo.
        let (unwritten, mut unwritten_events) = mpsc::unbounded_channel();
        let standin = Standin::start(Options {
            ports: self.ports(),
            cluster: self
                .cluster
                .then(|| ClusterOptions { node_port: self.node_port, ..ClusterOptions::default() }),
            events: Arc::new(move |event| {
                if let Err(error) = print(&format_args!("{EVENT} {event}")) {
                    let _ = unwritten.send(error);
                }
            }),
            ..Options::default()
        })
        .await
        .map_err(PortError::from_start)?;
        let folder = Folder::new()?;
        let ca_file = folder.write(CA_FILE, &standin.ca_pem())?;
        let token_file = folder.write(TOKEN_FILE, standin.federated_token(FEDERATED_LIFETIME)?.expose())?;
        folder.write(KEY_FILE, standin.access_key().expose())?;
        let mut config = Config::from_yaml("demo", &configuration(&standin, &ca_file, &token_file))?;
        config.http.listen = self.listen;
        let roots = Roots::none().with_pem(standin.ca_pem().as_bytes())?;
        print(&banner(&standin, listeners.local_addr(), &folder, self.steady))?;
        let daemon = Daemon {
            config: Ok(config),
            on_invalid_config: OnInvalidConfig::Exit,
            overrides: Overrides::default(),
            watch: None,
            listeners,
            services: daemon::services(roots, Files::system()),
            telemetry,
        };
        let script = async {
            match standin.cluster() {
                _ if self.steady => {}
                Some(cluster) => incidents::play(cluster.clone(), fastrand::Rng::new()).await,
                None => outages::play(standin.cache().clone(), fastrand::Rng::new()).await,
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = daemon.run() => Ok(ended?),
            Some(error) = unwritten_events.recv() => Err(error.into()),
            never = script => never,
        }
    }
}

/// Returns the demo's configuration. The identity needs no environment variables, so the demo leaves the process' own alone.
fn configuration(standin: &Standin, ca_file: &Path, token_file: &Path) -> String {
    format!(
        "targets:\n\
         - name: demo\n  \
           host: {HOST}\n  \
           port: {port}\n  \
           tls: {{ca_file: {ca_file}}}\n  \
           interval: 2s\n  \
           maintenance: on\n  \
           identity:\n    \
             type: workload_identity\n    \
             client_id: {client_id}\n    \
             tenant_id: {tenant_id}\n    \
             token_file: {token_file}\n    \
             authority: {authority}\n",
        port = standin.cache_port(),
        ca_file = quoted(ca_file),
        token_file = quoted(token_file),
        client_id = standin.client_id(),
        tenant_id = standin.tenant_id(),
        authority = standin.authority_url(),
    )
}

/// Returns a path as a quoted string of YAML.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

/// Returns the introduction: the addresses, what is real and what is simulated, and commands to try.
fn banner(standin: &Standin, listen: SocketAddr, folder: &Folder, steady: bool) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "cachepulse".into(), |path| path.display().to_string());
    let nodes = standin.cluster().map_or_else(String::new, |cluster| {
        let ports: Vec<String> = cluster.ports().iter().map(u16::to_string).collect();
        format!("\n  nodes              127.0.0.1:{} (TLS, certificate for {HOST})", ports.join(", "))
    });
    let simulated = if standin.cluster().is_some() {
        "The cache is a small in-memory store of three shards with a replica each. It has no network latency."
    } else {
        "The cache is a small in-memory store without clustering, replicas or network latency."
    };
    let outages = if steady {
        "There are no outages (--steady)."
    } else if standin.cluster().is_some() {
        "Every minute or so, a shard is lost, is failed over as planned, or has maintenance that the cache announces. \
         --steady leaves these incidents out."
    } else {
        "Every minute or so, the cache has an outage of a few seconds. Every fourth one is maintenance that the cache announces. \
         --steady leaves outages out."
    };
    format!(
        "cachepulse monitors a simulated cache. Everything runs in this process; press Ctrl-C to end it.\n\n  \
           agent              http://{listen}/\n  \
           cache              {HOST}:{port} (TLS){nodes}\n  \
           identity endpoint  {endpoint}\n  \
           Entra authority    {authority}\n\n\
         Real: the agent, its metrics, TLS, sign-in with tokens and their renewal.\n\
         Simulated: Azure. {simulated}\n\
         Tokens are valid for {lifetime} seconds instead of a day, so renewals happen every minute.\n\
         {outages}\n\
         Lines that start with {EVENT} report what happens to the simulated cache and identity endpoint.\n\n\
         Try in another terminal:\n\n  \
           curl -s http://{listen}/metrics | grep {metric}\n  \
           curl -s http://{listen}/status\n  \
           IDENTITY_ENDPOINT={endpoint} IDENTITY_HEADER={header} \\\n    \
             {program} check --host {HOST} --port {port} --ca-file {ca_file} --identity managed_identity\n  \
           REDISCLI_AUTH=\"$(cat {key_file})\" redis-cli {cluster_mode}--tls --cacert {ca_file} -h {HOST} -p {port}\n",
        metric =
            if standin.cluster().is_some() { "cachepulse_shard_success" } else { "cachepulse_probe_success" },
        cluster_mode = if standin.cluster().is_some() { "-c " } else { "" },
        port = standin.cache_port(),
        endpoint = standin.identity_endpoint(),
        authority = standin.authority_url(),
        lifetime = Options::default().token_lifetime.as_secs(),
        header = standin.identity_header().expose(),
        ca_file = folder.path(CA_FILE).display(),
        key_file = folder.path(KEY_FILE).display(),
    )
}

/// A folder for the demo's files. It is removed when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("cachepulse-demo-{}", std::process::id()));
        create_private_folder(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot create {}: {error}", path.display()))
        })?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The files are useless without this process, so an error does not matter.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port of the stand-in cannot be listened on.
#[derive(Debug)]
struct PortError(BindError);

impl PortError {
    fn from_start(error: StartError) -> Box<dyn std::error::Error> {
        match error {
            StartError::Bind(error) => Box::new(Self(error)),
            error @ StartError::Generate(_) => Box::new(error),
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.service {
            Service::Cache => "--redis-port: choose another port, or 0 for any free port",
            Service::Node => "--node-port: it and the next five ports must be free; choose another, or 0",
            Service::Identity => "--identity-port: choose another port, or 0 for any free port",
            Service::Authority => "--identity-port: the next port must be free too; choose another, or 0",
        })
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
