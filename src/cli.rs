//! The command line: commands, their flags and exit codes.

mod check;
#[cfg(feature = "demo")]
mod demo;
#[cfg(not(feature = "demo"))]
#[path = "cli/no_demo.rs"]
mod demo;
mod output;
mod run;
mod version;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::flags::Flags;
use crate::config::keys::agent::LISTEN;
use crate::config::{Config, LoadError, LoadFault, Overrides, Problems};
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
    /// Run the agent: probe on a schedule, serve /metrics.
    Run(Source),
    /// Probe once on a fresh connection and tell each phase and step.
    Check(check::Check),
    /// Tell every problem of a configuration file.
    Validate {
        /// The configuration file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Ask the running agent's /livez; for images without a shell.
    Healthcheck {
        /// Where the agent listens.
        #[arg(
            long,
            env = "CACHEPULSE_LISTEN",
            value_name = "ADDR",
            default_value_t = LISTEN.default(),
            value_parser = address_or(LISTEN.default())
        )]
        listen: SocketAddr,
    },
    /// Run the agent against a local Azure in the same process.
    Demo(demo::Demo),
    /// Print the version, revision, target and features of this build
    Version(version::Command),
}

/// Where the configuration comes from: a file, or flags for one target.
#[derive(Debug, Args)]
struct Source {
    /// The configuration file; without it, flags configure one target.
    #[arg(long, env = "CACHEPULSE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

impl Source {
    fn load(&self) -> Result<Config, ConfigError> {
        match &self.config {
            None => Config::from_flags(&self.flags).map_err(ConfigError::Flags),
            Some(file) => {
                let given = self.flags.refused_beside_file();
                if given.is_empty() {
                    Config::load(file).map_err(ConfigError::File)
                } else {
                    Err(ConfigError::Both(given.join(" ")))
                }
            }
        }
    }

    /// What flags set even beside a file.
    fn overrides(&self) -> Result<Overrides, ConfigError> {
        Overrides::new(&self.flags).map_err(ConfigError::Flags)
    }
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

/// There is no usable configuration.
#[derive(Debug)]
enum ConfigError {
    Flags(Problems),
    File(LoadError),
    Both(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(problems) => write!(f, "{problems}"),
            // A line for each problem.
            Self::File(LoadError { path, fault: LoadFault::Invalid(problems) }) => {
                write!(f, "{}:\n{problems}", path.display())
            }
            Self::File(error) => write!(f, "{}", Chain(error)),
            Self::Both(given) => write!(
                f,
                "{given}: with --config (or CACHEPULSE_CONFIG) everything is said in the file; give one or the other"
            ),
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
        Command::Validate { file } => match Config::load(&file) {
            Ok(config) => output::finish(
                &format_args!("{}: valid, {} target(s)", file.display(), config.targets.len()),
                ExitCode::SUCCESS,
            ),
            Err(error) => usage(&ConfigError::File(error)),
        },
        Command::Healthcheck { listen } => match healthcheck(listen, Duration::from_secs(3)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&Chain(&error)),
        },
        Command::Demo(demo) => demo.run(),
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
