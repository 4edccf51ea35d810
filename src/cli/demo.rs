//! `cachepulse demo`: the real agent against a local Azure in the same process.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cachepulse_standin::{HOST, Options, Standin, outages};
use clap::Args;
use tokio::sync::mpsc;

use super::output::{WriteError, print};
use super::run::block_on;
use super::{address_or, failure};
use crate::config::Config;
use crate::connection::tls::Roots;
use crate::daemon::{self, Daemon};
use crate::error::Chain;
use crate::http;
use crate::telemetry::{self, Format, Level, Telemetry};

/// The service account's token outlives any demo.
const FEDERATED_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Nobody but this machine needs to see a demo.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9860);

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where the agent listens.
    #[arg(
        long,
        env = "CACHEPULSE_LISTEN",
        value_name = "ADDR",
        default_value_t = LISTEN,
        value_parser = address_or(LISTEN)
    )]
    listen: SocketAddr,
    /// Leave out the outages.
    #[arg(long)]
    steady: bool,
}

impl Demo {
    pub(super) fn run(&self) -> ExitCode {
        let telemetry = match telemetry::init(None, Level::Info, Format::Text) {
            Ok(telemetry) => telemetry,
            Err(error) => return failure(&Chain(&error)),
        };
        // First of all, so that nothing has started where the address is taken.
        let listener = match http::bind(self.listen) {
            Ok(listener) => listener,
            Err(error) => return failure(&Chain(&error)),
        };
        block_on(async {
            match self.play(listener, telemetry).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => match error.downcast_ref::<WriteError>() {
                    Some(error) => error.exit(ExitCode::SUCCESS),
                    None => failure(&Chain(&*error)),
                },
            }
        })
    }

    async fn play(
        &self,
        listener: http::Listener,
        telemetry: Telemetry,
    ) -> Result<(), Box<dyn std::error::Error>> {
        // Few events a second, and nobody but the demo waits for them.
        let (unwritten, mut unwritten_events) = mpsc::unbounded_channel();
        let standin = Standin::start(Options {
            events: Arc::new(move |event| {
                if let Err(error) = print(&format_args!("[azure] {event}")) {
                    let _ = unwritten.send(error);
                }
            }),
            ..Options::default()
        })
        .await?;
        let folder = Folder::new()?;
        let ca_file = folder.write("ca.pem", &standin.ca_pem())?;
        let token_file =
            folder.write("federated-token", standin.federated_token(FEDERATED_LIFETIME)?.expose())?;
        let config = Config::from_yaml(&configuration(&standin, &ca_file, &token_file))?;
        let roots = Roots::none().with_pem(standin.ca_pem().as_bytes())?;
        introduce(&standin, listener.local_addr(), &ca_file, self.steady)?;
        let daemon =
            Daemon { config, file: None, listener, environment: daemon::environment(roots), telemetry };
        let script = async {
            if !self.steady {
                outages::play(standin.cache().clone(), fastrand::Rng::new()).await;
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

/// The demo's configuration. The identity needs no environment variables, so the demo leaves the process' own alone.
fn configuration(standin: &Standin, ca_file: &Path, token_file: &Path) -> String {
    format!(
        "targets:\n\
         - name: demo\n  \
           host: {HOST}\n  \
           port: {port}\n  \
           tls: {{ca_file: {ca_file}}}\n  \
           interval: 2s\n  \
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

/// A path as YAML takes it, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

fn introduce(standin: &Standin, listen: SocketAddr, ca_file: &Path, steady: bool) -> Result<(), WriteError> {
    let program =
        std::env::current_exe().map_or_else(|_| "cachepulse".into(), |path| path.display().to_string());
    print(&format_args!(
        "A local Azure and the real agent against it, in one process.\n\n  \
           cache             {HOST}:{port} (TLS, Entra sign-in)\n  \
           identity endpoint {endpoint}\n  \
           Entra authority   {authority}\n  \
           agent             http://{listen}/\n\n\
         Tokens live a minute, so that renewals on the live connection can be watched.{outages}\n\
         Ctrl-C ends it. Try in another terminal:\n\n  \
           curl -s http://{listen}/metrics | grep cachepulse_probe_success\n  \
           curl -s http://{listen}/status\n  \
           IDENTITY_ENDPOINT={endpoint} IDENTITY_HEADER={header} \\\n    \
             {program} check --host {HOST} --port {port} --ca-file {ca_file} --identity managed_identity\n",
        port = standin.cache_port(),
        endpoint = standin.identity_endpoint(),
        authority = standin.authority_url(),
        header = standin.identity_header().expose(),
        ca_file = ca_file.display(),
        outages = if steady { "" } else { "\nNow and then the cache goes away for some seconds." },
    ))
}

/// A folder of the demo's own, which goes when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("cachepulse-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind holds nothing that is good for anything without this process.
        let _ = fs::remove_dir_all(&self.0);
    }
}
