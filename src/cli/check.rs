//! `cachepulse check`: one probe on a new connection, shown step by step.

mod cluster;
mod result;
mod text;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tracing::warn;

use super::output::{OutputFormat, Style, WriteError, complain, enumerated, print};
use super::resolution::ResolutionDocument;
use super::run::block_on;
use super::source::Source;
use super::{failure, usage};
use crate::agent::Agent;
use crate::config::keys::Descriptor;
use crate::config::keys::agent::{
    HEALTH_LISTEN, LIFECYCLE, LISTEN, LOG_FORMAT, SHUTDOWN_GRACE_PERIOD, WEB_CONFIG_FILE,
};
use crate::config::keys::fleet::{COPIES, INDEX, OF};
use crate::config::keys::probe::{CLIENT_LIST_EVERY, INTERVAL, STARTUP_GRACE};
use crate::config::{Good, Sources};
use crate::connection::tls::roots::Roots;
use crate::connection::trace::Trace;
use crate::daemon;
use crate::error::Chain;
use crate::files::Files;
use crate::identity::Identity;
use crate::os::disable_core_dumps;
use crate::signal::Signals;
use crate::target::Target;
use crate::telemetry::{self, Format, Level};
use result::CheckResult;
use text::Text;

/// The number of clients that are listed without `--all`.
const CLIENTS: usize = 20;

/// The flags of the agent that do not affect a single probe. They are accepted but hidden, so that `run` and `check` can
/// share the same variables.
const UNUSED: [&dyn Descriptor; 12] = [
    &INTERVAL,
    &STARTUP_GRACE,
    &CLIENT_LIST_EVERY,
    &LISTEN,
    &HEALTH_LISTEN,
    &WEB_CONFIG_FILE,
    &LIFECYCLE,
    &LOG_FORMAT,
    &SHUTDOWN_GRACE_PERIOD,
    &INDEX,
    &OF,
    &COPIES,
];

/// Hides the flags of the agent that do not affect `check`.
pub(super) fn without_unused_flags(command: clap::Command) -> clap::Command {
    let flags = UNUSED.iter().filter_map(|key| key.about().flag);
    flags.fold(command, |command, flag| command.mut_arg(flag.name, |argument| argument.hide(true)))
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// The target of the configuration file to probe; by default, all
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// List every client, not only the first 20
    ///
    /// In JSON, `clients.truncated` says whether the list leaves clients out.
    #[arg(long)]
    all: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        if self.target.is_some() && self.source.file().is_none() {
            return usage(
                &"--target: selects a target of a configuration file; give the file with --config, or leave out --target",
            );
        }
        let files = Files::system();
        let sources = Sources::without_web_config(&files);
        let config = match self.source.load(&sources) {
            Ok(config) => config,
            Err(error) => return error.exit(),
        };
        let overrides = match self.source.overrides(&sources) {
            Ok(overrides) => overrides,
            Err(error) => return error.exit(),
        };
        let merged = config.found().merge(&config.targets, &Good::new(), None);
        for problem in merged.files.values().filter_map(|validity| validity.as_ref().err()) {
            complain(&format_args!("warning: {problem}"));
        }
        let mut targets = merged.own;
        if let Some(name) = &self.target {
            let names = enumerated(targets.iter().map(|target| target.name.as_str()));
            targets.retain(|target| name == target.name.as_str());
            if targets.is_empty() {
                return usage(&format_args!(
                    "--target: the configuration has no target named {name:?}; it has {names}"
                ));
            }
        }
        disable_core_dumps();
        // The result already contains what the level info would log.
        let without_info = |level: Level| if level > Level::Info { level } else { Level::Warn };
        let (flag, configured) = (overrides.log_level.map(without_info), without_info(config.log.level));
        if let Err(error) = telemetry::init(flag, configured, Format::Text) {
            return failure(&Chain(&error));
        }
        for warning in &config.warnings {
            warn!(%warning, "configuration warning");
        }
        let mut stopped = None;
        let code = block_on(async {
            let mut signals = match Signals::new() {
                Ok(signals) => signals,
                Err(error) => return failure(&format_args!("signals cannot be received: {error}")),
            };
            tokio::select! {
                code = self.probe(&targets, files) => code,
                signal = signals.next() => {
                    stopped = Some(signal);
                    ExitCode::FAILURE
                }
            }
        });
        if let Some(signal) = stopped {
            // Only now: commands such as az have ended with the runtime.
            signal.end_process();
        }
        code
    }

    async fn probe(&self, targets: &[Arc<Target>], files: Files) -> ExitCode {
        let services = daemon::services(Roots::platform(), files);
        let (status, files) = (services.status.clone(), services.files.clone());
        let clients = if self.all { usize::MAX } else { CLIENTS };
        let mut agent = Agent::new(services);
        let mut code = ExitCode::SUCCESS;
        let mut write_error = None;
        for target in targets {
            let trace = Trace::on();
            let (mut prober, sentinels) = match agent.prober(target, &trace).await {
                Ok(both) => both,
                Err(error) => return usage(&Chain(&error)),
            };
            let resolution = match &*target.identity {
                // Without one, the failure of the phase `token` says why.
                Identity::Entra(identity) => ResolutionDocument::of(identity, &files).await.ok().flatten(),
                _ => None,
            };
            let found = prober.probe().await;
            if let Some(sentinels) = &sentinels {
                sentinels.ask_once().await;
            }
            if found.outcome.result.is_err() {
                code = ExitCode::FAILURE;
            }
            let result = CheckResult::new(
                target,
                &found,
                trace.findings(),
                resolution,
                &status.document(),
                clients,
                self.source.file().is_none(),
            );
            write_error = self.print(&result).err();
            if let Some(WriteError::Failed(_)) = write_error {
                break;
            }
        }
        agent.stop().await;
        write_error.map_or(code, |error| error.exit(code))
    }

    fn print(&self, result: &CheckResult) -> Result<(), WriteError> {
        match self.output {
            OutputFormat::Text => print(&Text { result, style: Style::of_stdout() }),
            OutputFormat::Json => print(&result.to_json()),
        }
    }
}
