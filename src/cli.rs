//! The command line: commands, their flags and exit codes.

mod check;
#[cfg(feature = "demo")]
mod demo;
#[cfg(not(feature = "demo"))]
#[path = "cli/no_demo.rs"]
mod demo;
mod metrics;
mod output;
mod run;
mod source;
mod validate;
mod version;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::keys::agent::LISTEN;
use crate::error::Chain;
use crate::healthcheck::healthcheck;

/// The exit code for wrong usage or configuration, as in BSD's sysexits.h (`EX_USAGE`).
const USAGE: u8 = 64;

/// A health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.
#[derive(Debug, Parser)]
#[command(name = "cachepulse", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent: probe on a schedule and serve /metrics
    Run(source::Source),
    /// Probe once on a fresh connection and show each phase and step
    Check(check::Check),
    /// Report every problem of configuration files
    Validate(validate::Command),
    /// Ask the running agent's /livez; for images without a shell
    Healthcheck {
        /// Address and port of the agent's HTTP endpoint
        #[arg(
            long,
            env = "CACHEPULSE_LISTEN",
            value_name = "ADDR",
            default_value_t = LISTEN.default(),
            value_parser = address_or(LISTEN.default())
        )]
        listen: SocketAddr,
    },
    /// Run the agent against a local Azure in the same process
    Demo(demo::Demo),
    /// List every metric with its type, labels and help
    Metrics(metrics::Command),
    /// Print the version, revision, target and features of this build
    Version(version::Command),
}

/// An address, or `default` where the variable is set but empty.
fn address_or(default: SocketAddr) -> impl Fn(&str) -> Result<SocketAddr, String> + Clone {
    move |text| match text {
        "" => Ok(default),
        address => {
            address.parse().map_err(|_| "expected an IP address and a port such as 0.0.0.0:9860".into())
        }
    }
}

/// The commands and flags, for whoever documents or completes them.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Carries out the command that `args` tell, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            // Help and version are results, not errors.
            return if error.use_stderr() {
                usage(&text.trim_end())
            } else {
                output::finish(&text.trim_end(), ExitCode::SUCCESS)
            };
        }
    };
    match cli.command {
        Command::Run(source) => run::run(&source),
        Command::Check(check) => check.run(),
        Command::Validate(validate) => validate.run(),
        Command::Healthcheck { listen } => match healthcheck(listen, Duration::from_secs(3)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&Chain(&error)),
        },
        Command::Demo(demo) => demo.run(),
        Command::Metrics(metrics) => metrics.run(),
        Command::Version(version) => version.run(),
    }
}

fn usage(problem: &dyn fmt::Display) -> ExitCode {
    eprintln!("{problem}");
    USAGE.into()
}

fn failure(problem: &dyn fmt::Display) -> ExitCode {
    eprintln!("cachepulse: {problem}");
    ExitCode::FAILURE
}
